"""The corpus on disk: Parquet column files, shards of rows, snapshots by digest, and how rows are read back.

In: rows and cells. Out: files below one address, a snapshot document that names them, and rows by number or place.
"""
