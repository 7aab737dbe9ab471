"""Floating-point operations of a training image, counted on the meta device, and the peak of the device that does them.

Model operations: the trained network forward and twice as much backward, the frozen ones forward; nothing that is
computed twice to save memory counts twice. Matrix products and convolutions are counted, two operations each multiply.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.codec import build_codec
from model.config import CODECS, IMAGE_ENCODERS, V1Config
from model.image_encoder import build_image_encoder
from model.v1 import V1
from pipelines.cost_devices import PEAKS

BACKWARD = 2  # a gradient by the input and one by the weights


@dataclass(frozen=True)
class ImageFlops:
    """Of one training image: the `trained` network forward and backward, the `frozen` codec and image encoder."""

    trained: float
    frozen: float

    @property
    def total(self) -> float:
        """Of everything."""
        return self.trained + self.frozen


@lru_cache(maxsize=128)
def count_flops(config: V1Config, width: int, height: int) -> ImageFlops:
    """Of one training image of that size in pixels."""
    encoder, downsampling = IMAGE_ENCODERS[config.image_encoder], CODECS[config.codec].downsampling
    tokens = encoder.local_tokens if config.reference_tokens == "local" else 1
    with torch.device("meta"), torch.no_grad():
        picture, reference = torch.empty(1, 3, height, width), torch.empty(1, 3, encoder.image_size, encoder.image_size)
        latents = torch.empty(1, config.latent_channels, height // downsampling, width // downsampling)
        context = torch.empty(1, tokens, config.context_width)
        network = V1(config)
        with FlopCounterMode(display=False) as trained:
            network(latents, torch.zeros(1, dtype=torch.long), picture, context)
        codec, image_encoder = build_codec(config.codec), build_image_encoder(config.image_encoder)
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
