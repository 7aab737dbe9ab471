"""The diffusion process: noise, guidance, schedulers, the sampling loop and the pipeline around it. Knows no family.

In: a denoiser and its conditions. Out: latents, and pictures through the codec.
"""
