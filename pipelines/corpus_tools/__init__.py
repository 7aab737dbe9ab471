"""Tools for a corpus that exists, on Ray: browse page, merge, export.

In: snapshots. Out: a page, a corpus, or another layout.
"""
