"""Distances between the set of all results and the set of the real pictures, as a feature network sees both.

In: feature vectors, part after part. Out: one number with bounds, or the reason for none.
"""
