"""How well the weights that ship colour: scores, a sheet of unpicked results, the README's picture.

In: the shipped pictures, and storybook pictures where they are. Out: a table with intervals, and pictures.
"""
