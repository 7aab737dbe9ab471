"""Networks that see pictures, and texts, as vectors, so that metrics can compare them.

In: pictures in [0, 1], or words, and loaded networks. Out: a vector each (`table.FEATURES`, by name). Weights come from
the weight store under the names of `model.weights.catalogue`; those of `efficientnet` come with a package of pip.
"""
