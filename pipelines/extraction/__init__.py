"""Extractors inside a build or a command: learned operators, the content filter, lines of a colour picture.

In: recipes and the weight store. Out: operators that a build runs.
"""
