"""What is looked at of a training: fixed pairs and held-out rows while it goes on, its samples before it begins.

In: a stage, its recipe and a corpus. Out: pictures, and metrics for the history.
"""
