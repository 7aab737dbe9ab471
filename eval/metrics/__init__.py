"""Metrics: of one result against its truth, of a set against a set, and their intervals.

In: pictures (B, 3, H, W) in [0, 1] and what their pairs give. Out: one value a picture, and scores of a whole run. A
metric is an object in a file of its own and a row of `table`; `metric` says what it is.
"""
