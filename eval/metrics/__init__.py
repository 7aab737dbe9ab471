"""Scores: of one result against its truth, of a set against a set, and their intervals.

In: pictures (B, 3, H, W) in [0, 1], or features. Out: one value a picture, or one a set with its bounds.
"""
