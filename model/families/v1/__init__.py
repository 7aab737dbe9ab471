"""ColorizeDiffusion v1 (paper 002; thesis 5.3 and 5.4): sizes, network, training stages, recipes, released keys.

In: sketch, colour and reference. Out: a denoiser steered by sketch hints and reference tokens.
"""
