"""Scores a checkpoint on Ray by a protocol of `eval`.

In: a checkpoint, a corpus and a protocol. Out: scores with intervals, the pairing table, provenance.
"""
