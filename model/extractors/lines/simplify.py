"""Sketch simplification: rough lines to clean ones, Simo-Serra et al. 2016 (fully convolutional, MSE) and 2018 (GAN).

The layers of "Learning to Simplify" (SIGGRAPH 2016), section 3, with the norms folded into the convolutions, under the
names of aidreamwin's sketch_simplification_pytorch. In the published files the second halving keeps 128 channels, where
the authors' training code doubles them. RASC (IV.B) simplifies all of its sketches with the GAN's weights.

Shapes: N batch; h, w multiples of 8.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from model.extractors.convention import Picture, Planes
from model.extractors.fitting import Plane, gray, pad, planes

MULTIPLE = 8
# Channels in and out and the step of every layer: 1 keeps the size, 2 halves it, -2 doubles it.
LAYERS = (
    ((1, 48, 2), (48, 128, 1), (128, 128, 1), (128, 128, 2)),
    ((128, 256, 1), (256, 256, 1), (256, 256, 2)),
    ((256, 512, 1), (512, 1024, 1), (1024, 1024, 1), (1024, 1024, 1), (1024, 1024, 1)),
    ((1024, 512, 1), (512, 256, 1), (256, 256, -2), (256, 256, 1)),
    ((256, 128, 1), (128, 128, -2), (128, 128, 1)),
    ((128, 48, 1), (48, 48, -2)),
    ((48, 24, 1), (24, 1, 1)),
)


class Simplifier(nn.Module):
    """Gray (N, 1, h, w), standardised -> lines (N, 1, h, w) in [0, 1], 0 line. 44,387,249 parameters."""

    half_precision: ClassVar[tuple[str, ...]] = ("float16",)  # bfloat16: 1.2e-2

    def __init__(self) -> None:
        super().__init__()
        for i, group in enumerate(LAYERS, start=1):
            layers: list[nn.Module] = []
            for channels_in, channels_out, step in group:
                last: nn.Module = nn.Sigmoid() if channels_out == 1 else nn.ReLU(inplace=True)
                layers += [_convolution(channels_in, channels_out, step), last]
            self.add_module(f"layer{i}", nn.Sequential(*layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.children():
            x = part(x)
        return x


def _convolution(channels_in: int, channels_out: int, step: int) -> nn.Module:
    if step < 0:
        return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=-step, padding=1)
    kernel = 5 if channels_in == 1 else 3
    return nn.Conv2d(channels_in, channels_out, kernel, stride=step, padding=kernel // 2)


@dataclass(frozen=True)
class SimplifierConvention:
    """Gray in [0, 1] less `mean`, over `std`: those of the training set, which differ from file to file."""

    name: str
    mean: float
    std: float

    def prepare(self, picture: Picture) -> Planes:
        """(1, h, w) for RGB or line art of any size, padded by going on with the border."""
        plane = planes(pad(gray(picture), MULTIPLE), 1 / (255 * self.std))
        return np.subtract(plane, np.float32(self.mean / self.std), out=plane)

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        """(N, 1, h, w) -> lines (N, 1, h, w)."""
        return network(planes)

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> Plane:
        """(1, h, w) -> (H, W) in [0, 1], 0 line."""
        return output[0, : size[0], : size[1]]


# Each goes with the file of its name: model_gan.pth (2018) and model_mse.pth (2016).
CONVENTIONS: Mapping[str, SimplifierConvention] = MappingProxyType(
    {
        "gan": SimplifierConvention("gan", 0.9664114577640158, 0.0858381272736797),
        "mse": SimplifierConvention("mse", 0.9664423107454593, 0.08583666033640507),
    }
)
