"""The parts of the Stable Diffusion shape: UNet, attention that can be steered, the sketch encoder, their sizes.

In: latents, timesteps, hints and reference tokens. Out: a prediction of the latents' shape. Knows no family.
"""
