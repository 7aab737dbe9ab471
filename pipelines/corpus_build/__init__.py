"""Builds a corpus on Ray, phase by phase: list, scan, plan, columns, commit; what breaks is retried or recorded.

In: a source and a corpus recipe. Out: a snapshot, rejects, and a report.
"""
