"""Weights that users bring: the weight store, packages, inspection, conversion, checkpoints by address.

In: addresses. Out: verified files and checkpoint directories.
"""
