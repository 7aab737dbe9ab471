"""Metrics, protocols and reports: pictures in, numbers out.

metrics    how good results are: a file and a row of `metrics.table` each
protocols  which sketch meets which reference, and what the right answer is: a file and a row of `protocols.table` each
report     one offline page of pictures, charts and scores

In: pictures as tensors in [0, 1], ids and facts of rows. Out: tables of pairs, scores that name their feature network,
and an HTML page. Nothing here trains, reads a corpus, or knows of Ray or MLflow: pipelines.evaluation runs it.
"""
