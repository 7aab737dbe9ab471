"""Many evaluations by one recipe: each a cell with an output of its own, all compared on a leaderboard.

In: a YAML file that says what varies (`recipe`). Out: cells, which are evaluations as `irodori evaluate` makes them
(`run`), and tables of what can be compared (`leaderboard`).
"""
