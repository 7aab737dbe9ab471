"""Floating-point operations of one training image of v1, counted by running the networks on the meta device."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.families.family import Operations
from model.families.v1.network import V1
from model.families.v1.sizes import V1Config
from model.frozen.codec import ImageCodec, build_codec
from model.frozen.config import CODECS, IMAGE_ENCODERS
from model.frozen.image_encoder import ReferenceEncoder, build_image_encoder


@cache
def _networks(config: V1Config, kind: Callable[[Any], V1]) -> tuple[V1, ImageCodec, ReferenceEncoder]:
    with torch.device("meta"):
        # The counter hooks into what could have a gradient, also into views of parameters, which have none here.
        return kind(config).requires_grad_(False), build_codec(config.codec), build_image_encoder(config.image_encoder)


def _forward(network: V1, latents: torch.Tensor, picture: torch.Tensor, tokens: torch.Tensor) -> None:
    network(latents, torch.zeros(1, dtype=torch.long), picture, tokens)


def count(
    config: V1Config,
    side: int,
    kind: Callable[[Any], V1] = V1,
    forward: Callable[..., None] = _forward,
    references: int = 1,
) -> Operations:
    """Of one square image of `side` pixels: the trained network forward, codec and image encoder forward.

    kind, forward: the network, and its pass over latents, picture and tokens, all of one image. references: pictures
    that the image encoder sees for it.
    """
    network, codec, image_encoder = _networks(config, kind)
    encoder, downsampling = IMAGE_ENCODERS[config.image_encoder], CODECS[config.codec].downsampling
    tokens = encoder.local_tokens if config.reference_tokens == "local" else 1
    with torch.device("meta"), torch.no_grad():
        picture = torch.empty(1, 3, side, side)
        seen = torch.empty(references, 3, encoder.image_size, encoder.image_size)
        latents = torch.empty(1, config.latent_channels, side // downsampling, side // downsampling)
        with FlopCounterMode(display=False) as trained:
            forward(network, latents, picture, torch.empty(1, tokens, config.context_width))
        with FlopCounterMode(display=False) as frozen:
            codec.encode(picture)
            image_encoder.encode(seen, "local" if config.reference_tokens == "local" else "cls")
    return Operations(trained=float(trained.get_total_flops()), frozen=float(frozen.get_total_flops()))
