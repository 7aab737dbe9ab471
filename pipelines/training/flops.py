"""Floating-point operations of a training image, counted on the meta device, and the peak of the device that does them.

Model operations: the trained network forward and twice as much backward, the frozen ones forward; nothing that is
computed twice to save memory counts twice. Matrix products and convolutions are counted, two operations each multiply.
"""

from dataclasses import dataclass
from functools import cache
from math import prod

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.backbone.config import CODECS, IMAGE_ENCODERS, V1Config
from model.families.v1.network import V1
from model.frozen.codec import ImageCodec, build_codec
from model.frozen.image_encoder import ReferenceEncoder, build_image_encoder
from pipelines.forecast.rates import PEAKS

BACKWARD = 2  # a gradient by the input and one by the weights
COUNTED_SIDES = (128, 256, 512)  # of the squares that are counted, in pixels; multiples of every halving


@dataclass(frozen=True)
class ImageFlops:
    """Of one training image: the `trained` network forward and backward, the `frozen` codec and image encoder."""

    trained: float
    frozen: float

    @property
    def total(self) -> float:
        """Of everything."""
        return self.trained + self.frozen


def count_flops(config: V1Config, width: int, height: int) -> ImageFlops:
    """Of one training image of that size in pixels.

    Convolutions take the picture's area, self-attention its square, so three sizes that are counted, once for each
    network, tell all others: exactly where both sides are multiples of 64 pixels, as nearly as rounding allows else.
    """
    counted = [side**2 for side in COUNTED_SIDES]
    weights = [
        prod((width * height - other) / (own - other) for other in counted if other != own) for own in counted
    ]  # Lagrange's
    flops = list(zip(weights, _counted(config), strict=True))
    return ImageFlops(sum(w * found.trained for w, found in flops), sum(w * found.frozen for w, found in flops))


@cache
def _counted(config: V1Config) -> list[ImageFlops]:
    """Of one training image of each of COUNTED_SIDES."""
    with torch.device("meta"):
        networks = V1(config), build_codec(config.codec), build_image_encoder(config.image_encoder)
    return [_count(config, *networks, side) for side in COUNTED_SIDES]


def _count(config: V1Config, network: V1, codec: ImageCodec, image_encoder: ReferenceEncoder, side: int) -> ImageFlops:
    """Of one square training image, by running the networks on the meta device."""
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
    return ImageFlops(float((1 + BACKWARD) * trained.get_total_flops()), float(frozen.get_total_flops()))


def peak_flops(device: torch.device) -> float | None:
    """The device's dense bf16 operations a second, where its maker's figure is known."""
    if device.type != "cuda":
        return None
    tera = PEAKS.get(torch.cuda.get_device_name(device))
    return None if tera is None else tera * 1e12
