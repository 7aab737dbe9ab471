"""Networks that draw line art from a colour picture, under their published keys.

In: pictures by each network's convention. Out: sketches, black on white.

One more: its file here, a row of `CATALOGUE` (model/weights/catalogue.py), one of `EXTRACTORS`
(pipelines/extraction/learned_operators.py) and a share in `StyleSettings` (dataprep/operators/styles.py).
"""
