"""Protocols: which sketch meets which reference, what the right answer is, and what is reported of the results.

In: ids and facts of the rows of a corpus, and the pictures of a pair. Out: a table of pairs, and of each pair what the
model and the metrics take. A protocol is an object in a file of its own and a row of `table`; nothing else names it.
"""
