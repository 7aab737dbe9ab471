"""From a row to the value of one column: pure functions of one row, or of a batch through a network.

In: a row's source picture and the columns before it. Out: encoded cells, with a fingerprint of what decided them.
"""
