"""What an output keeps of a run between its starts: states to go on from, who writes it, what may change.

In: weights, history and a recipe. Out: a state that is whole, or one clear error.
"""
