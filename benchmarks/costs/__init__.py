"""Measures what one picture costs in each operator, network and training step: `python -m benchmarks.costs`.

In: the shipped pictures at several sizes. Out: the table that `irodori plan` forecasts from.
"""
