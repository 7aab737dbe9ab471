"""The packages below composed on Ray: build a corpus, train a stage, colorize in bulk, evaluate; lineage and recipes.

In: resolved recipes and URIs. Out: a corpus, checkpoints, pictures and scores, each traced in MLflow.
"""
