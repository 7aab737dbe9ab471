"""How fast a corpus is built and read, each part beside a peer: `python -m benchmarks.corpus`.

In: a folder of pictures, or rows without pixels (`benchmarks.corpus.scale`). Out: one table of rates and ratios.
"""
