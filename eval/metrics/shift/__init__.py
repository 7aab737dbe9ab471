"""Measures of distribution shift and spatial entanglement for any picture, which thesis 7.1 and 7.2 ask for.

What a reference must not do: move the layout (`gram`), bring its figure's colours into the background (`leakage`), or
change what the sketch draws (`structure`). Each has a heat-map, which shows where. None needs a right answer.
"""
