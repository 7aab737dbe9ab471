"""How the pictures in `dataprep/assets` were made out of other projects' packages; nothing imports it.

In: unpacked packages. Out: the files that are in the repository.
"""
