"""What a corpus shall hold: its recipe, what a scan keeps and drops, duplicates, the split, the rows of each shard.

In: source items and a corpus recipe. Out: planned rows, and rejects with their reasons.
"""
