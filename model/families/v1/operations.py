"""Floating-point operations of one training image of v1, counted by running the networks on the meta device."""

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.families.family import Operations
from model.families.v1.network import V1
from model.families.v1.sizes import V1Config
from model.frozen.codec import ImageCodec, build_codec
from model.frozen.config import CODECS, IMAGE_ENCODERS
from model.frozen.image_encoder import ReferenceEncoder, build_image_encoder


@cache
def _networks(config: V1Config) -> tuple[V1, ImageCodec, ReferenceEncoder]:
    with torch.device("meta"):
        return V1(config), build_codec(config.codec), build_image_encoder(config.image_encoder)


def count(config: V1Config, side: int) -> Operations:
    """Of one square image of `side` pixels: the trained network forward, codec and image encoder forward."""
    network, codec, image_encoder = _networks(config)
    encoder, downsampling = IMAGE_ENCODERS[config.image_encoder], CODECS[config.codec].downsampling
    tokens = encoder.local_tokens if config.reference_tokens == "local" else 1
    with torch.device("meta"), torch.no_grad():
        picture, reference = torch.empty(1, 3, side, side), torch.empty(1, 3, encoder.image_size, encoder.image_size)
        latents = torch.empty(1, config.latent_channels, side // downsampling, side // downsampling)
        context = torch.empty(1, tokens, config.context_width)
        with FlopCounterMode(display=False) as trained:
            network(latents, torch.zeros(1, dtype=torch.long), picture, context)
        with FlopCounterMode(display=False) as frozen:
            codec.encode(picture)
            image_encoder.encode(reference, "local" if config.reference_tokens == "local" else "cls")
    return Operations(trained=float(trained.get_total_flops()), frozen=float(frozen.get_total_flops()))
