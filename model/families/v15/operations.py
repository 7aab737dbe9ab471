"""Floating-point operations of one training image of v1.5, counted by running the networks on the meta device."""

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.families.family import Operations
from model.families.v15.network import V15
from model.families.v15.sizes import V15Config
from model.frozen.codec import ImageCodec, build_codec
from model.frozen.config import CODECS, IMAGE_ENCODERS
from model.frozen.image_encoder import ReferenceEncoder, build_image_encoder


@cache
def _networks(config: V15Config) -> tuple[V15, ImageCodec, ReferenceEncoder]:
    with torch.device("meta"):
        return V15(config), build_codec(config.codec), build_image_encoder(config.image_encoder)


def count(config: V15Config, side: int) -> Operations:
    """Of one square image of `side` pixels: the network forward, codec and image encoder (of two pictures) forward."""
    network, codec, image_encoder = _networks(config)
    encoder, cell = IMAGE_ENCODERS[config.image_encoder], CODECS[config.codec].downsampling
    with torch.device("meta"), torch.no_grad():
        picture, references = torch.empty(1, 3, side, side), torch.empty(2, 3, encoder.image_size, encoder.image_size)
        latents = torch.empty(1, config.latent_channels, side // cell, side // cell)
        tokens, mask = torch.empty(1, encoder.local_tokens, config.context_width), latents[:, :1]
        with FlopCounterMode(display=False) as trained:
            network(
                latents,
                torch.zeros(1, dtype=torch.long),
                picture,
                tokens,
                tokens,
                torch.empty(1, 2),
                mask,
                torch.ones(1),
            )
        with FlopCounterMode(display=False) as frozen:
            codec.encode(picture)
            image_encoder.encode(references, "local")
    return Operations(trained=float(trained.get_total_flops()), frozen=float(frozen.get_total_flops()))
