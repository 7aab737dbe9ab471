"""Named recipes: of corpora, and of the stages of every family.

In: a name and overrides. Out: checked settings.
"""
