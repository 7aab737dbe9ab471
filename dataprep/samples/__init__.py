"""From a row to what a model sees: crops, squashes, buckets, deformation; pure functions of (row, settings, ordinal).

In: rows of a corpus. Out: float32 arrays in [-1, 1] of one size a step.
"""
