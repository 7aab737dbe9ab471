"""Metrics, protocols and reports: pictures in, numbers out.

In: pictures as float tensors in [0, 1] and tables of pairs. Out: scores that name their feature network, and one
offline report page. Nothing here trains, reads a corpus, or talks to Ray or MLflow.
"""
