"""What one worker of an evaluation does: reads pairs, has them coloured, and looks at the results.

In: a plan and pairs. Out: what was measured of each (`pair_scorer`). `corpus_pairs` is what it takes of the corpus,
`colorist` of the model, `hand_over` of another system's pictures, `views` of feature networks.
"""
