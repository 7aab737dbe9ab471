"""Every network, its losses, samplers and checkpoints: tensors in, tensors out.

In: tensors with documented shape and range. Out: tensors, and checkpoints as plain directories. Nothing here knows of
files of pictures, corpus rows, Ray or MLflow.
"""
