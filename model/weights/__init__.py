"""Weight files: reading them safely, foreign formats, and the catalogue of published networks.

In: paths. Out: tensors by name; code in a file is never run.
"""
