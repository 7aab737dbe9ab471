"""What is done with a corpus that exists: verify, compare, merge, export, survey, collect garbage.

In: one snapshot or two. Out: a report, another layout, or a corpus.
"""
