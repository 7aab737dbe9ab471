"""A family of two small networks trained against each other: the proof that the seam carries more than v1."""
