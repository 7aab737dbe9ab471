"""The main job from end to end on the shipped pictures: `irodori demo`.

In: nothing. Out: a corpus, two trained stages, colourings, scores and a report page.
"""
