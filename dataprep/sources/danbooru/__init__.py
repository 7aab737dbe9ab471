"""Danbooru dumps as a source: the posts' metadata, the files that lie beside it, and both together.

In: a dump's folder. Out: items with tags, ratings and groups.
"""
