"""Which published layout a weight file has, and its names beside ours.

In: keys and shapes. Out: the kind of file, its parts, and tables of names.
"""
