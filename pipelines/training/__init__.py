"""Trains one stage on Ray Train: plan, feed, step, watch, save, resume.

In: a stage recipe, a corpus and a parent. Out: a checkpoint, its history and lineage.
"""
