"""Sampling and training beside diffusers' own pipelines: `python -m benchmarks.diffusion`.

In: networks with random weights at a reduced or published size. Out: rates, memory and ratios, outputs compared.
"""
