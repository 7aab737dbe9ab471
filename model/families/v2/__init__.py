"""ColorizeDiffusion v2 ("Separating Reference Representations", thesis 5.6): references seen part by part.

In: sketch, colour, reference and masks. Out: a v1 whose attention is split, whose decoder reads background and style.
"""
