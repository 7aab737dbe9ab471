"""The model families, a folder each, and the registry that finds them by name.

In: a name. Out: its sizes, networks, stages, colorist and released keys.
"""
