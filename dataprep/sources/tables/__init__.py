"""Tables that say something about pictures: JSON, CSV and Parquet row by row, in bounded memory, a bad row by itself.

In: an address. Out: rows as objects, each with its place in the file.
"""
