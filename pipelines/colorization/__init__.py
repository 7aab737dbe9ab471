"""Colours sketches: jobs, settings of a picture, provenance inside the PNG, and replay.

In: sketches, references and a checkpoint. Out: PNG files that record how they were made.
"""
