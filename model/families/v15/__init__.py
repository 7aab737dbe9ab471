"""ColorizeDiffusion v1.5 (thesis 5.5; "Separating Reference Representations" III.C): figure and ground apart.

In: sketch, colour, reference and masks. Out: a v1 whose attention is split between a reference and its background.
"""
