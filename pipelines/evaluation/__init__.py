"""Scores a checkpoint on Ray by a protocol of `eval`.

In: a checkpoint, a corpus and the names of a protocol and metrics (`plan`, `lookup`). Out: scores with intervals or the
reason for none (`scores`), the pairing table, one row a pair, pictures, provenance (`evaluate`). `scoring` is what one
worker does.
"""
