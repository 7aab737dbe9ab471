"""The frozen networks around a family: the image codec, the image encoder, tiles of large pictures.

In: pictures in [-1, 1]. Out: latents, pictures, or tokens.
"""
