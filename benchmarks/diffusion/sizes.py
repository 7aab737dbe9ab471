"""Sizes at which diffusion is measured, and our networks at them with random weights, which change no time.

"small" is what a CPU can do: every width a fifth of the published one, so that the networks' shares of the work stay
about as published (UNet 92 %, decoder 7 %, image encoder 1 % of a picture in 20 steps).
"""

from dataclasses import dataclass

import torch
from torch import nn

from model.families.v1.network import V1
from model.families.v1.sizes import V1_SIZES, V1Config
from model.frozen.codec import ImageCodec
from model.frozen.config import CODECS, IMAGE_ENCODERS, CodecConfig, ImageEncoderConfig
from model.frozen.image_encoder import ReferenceEncoder

SCALING = 0.18215


@dataclass(frozen=True)
class Size:
    """What is built: the trained network and the frozen ones around it."""

    v1: V1Config
    codec: CodecConfig
    image_encoder: ImageEncoderConfig


SIZES = {
    "tiny": Size(
        V1Config(model_channels=32, head_width=32, context_width=32, codec="sd-vae", image_encoder="ViT-H-14"),
        CodecConfig((8, 8, 8, 8), layers_per_block=1, norm_groups=8, mid_attention=False, scaling_factor=SCALING),
        ImageEncoderConfig(image_size=32, patch_size=8, width=32, layers=1, heads=1, output_width=32),
    ),
    "small": Size(
        V1Config(
            model_channels=64,
            head_width=32,
            context_width=256,
            codec="sd-vae",
            image_encoder="ViT-H-14",
            stem_widths=(4, 4, 8, 8, 20, 20, 52),
        ),
        CodecConfig((24, 48, 96, 96), layers_per_block=2, norm_groups=8, mid_attention=True, scaling_factor=SCALING),
        ImageEncoderConfig(image_size=224, patch_size=14, width=256, layers=32, heads=4, output_width=256),
    ),
    "base": Size(V1_SIZES["base"], CODECS["sd-vae"], IMAGE_ENCODERS["ViT-H-14"]),
}


@dataclass(frozen=True, eq=False)
class Networks:
    """Ours: the trained network and the frozen ones."""

    model: V1
    codec: ImageCodec
    image_encoder: ReferenceEncoder


def build(size: Size, device: str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0) -> Networks:
    """Our networks, frozen and in evaluation mode; the trained one has no layer of zeros, so all of it is seen."""
    torch.manual_seed(seed)
    with torch.device(device):
        parts = (V1(size.v1), ImageCodec(size.codec, SCALING), ReferenceEncoder(size.image_encoder))
    for part in parts:
        part.to(dtype).eval().requires_grad_(False)
    fill_zeros(parts[0])
    return Networks(*parts)


def fill_zeros(network: nn.Module) -> None:
    """Small random numbers in every weight that starts at zero."""
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)


def set_layout(networks: Networks, channels_last: bool) -> None:
    """Convolutions' weights in the layout asked for; what they compute is the same."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for network in (networks.model, networks.codec):
        network.to(memory_format=layout)  # type: ignore[call-overload]
