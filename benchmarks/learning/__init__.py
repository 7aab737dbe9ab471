"""What training teaches: stages compared at equal images seen: `python -m benchmarks.learning`.

In: the assembled drawings, whose right answer can be drawn. Out: a table with intervals, and a picture.
"""
