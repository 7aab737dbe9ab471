"""Line art of illustrations: both networks that Anime2Sketch publishes (Xiang et al. 2021, arXiv 2104.05703).

A pix2pix U-Net of eight halvings with instance norm, so lines depend on the whole picture. "Improved" doubles smoothly
instead of by transposed convolution, and so without its checkerboards; it is meant for dark and faint pictures.

Shapes: N pictures; h, w multiples of 256.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from model.extractors.convention import Picture, Planes
from model.extractors.fitting import Plane, planes, rgb, squash, unsquash
from model.extractors.lines.lineart_sk import brought_to_64s, in_64s

WIDTHS = (64, 128, 256, 512, 512, 512, 512, 512)
MULTIPLE = 2 ** len(WIDTHS)
Pixels = TypeVar("Pixels", Picture, Plane)


class Level(nn.Module):
    """Halves the size, goes through the level within, doubles it: (N, C, h, w) -> (N, 2C, h, w), the input first.

    The input is overwritten with its activation. Keys are the published indices, which count norms and activations.
    """

    def __init__(self, channels: int, width: int, within: "Level | None", up: nn.Module) -> None:
        super().__init__()
        down = nn.Conv2d(channels, width, 4, stride=2, padding=1)
        self.model = nn.ModuleDict({"1": down, "3": up} if within is None else {"1": down, "3": within, "5": up})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = F.leaky_relu_(x, 0.2)
        down, *within, up = self.model.values()
        x = down(skip)
        for level in within:
            x = level(F.instance_norm(x))
        return torch.cat((skip, F.instance_norm(up(F.relu_(x)))), 1)


class SmoothUp(nn.Module):
    """(N, C, h, w) -> (N, D, 2h, 2w): bilinear x2, a binomial filter, 3x3 convolution, a residual pair of 1x1 ones."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.smooth = Binomial()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels_out, 4 * channels_out, 1),
            nn.GELU(),
            nn.Conv2d(4 * channels_out, channels_out, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(self.smooth(F.interpolate(x, scale_factor=2, mode="bilinear")))
        return self.mlp(x).add_(x)


class Binomial(nn.Module):
    """1 2 1 along both axes of each channel, over 16; the border is repeated."""

    kernel: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(row, row)[None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = x.shape[1]
        kernel = self.kernel.expand(channels, 1, 3, 3)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "replicate"), kernel, groups=channels)


def _transposed(channels_in: int, channels_out: int) -> nn.Module:
    return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)


class Anime2Sketch(nn.Module):
    """RGB in [-1, 1] (N, 3, h, w) -> sketch (N, 1, h, w) in [-1, 1], -1 line."""

    half_precision: ClassVar[tuple[str, ...]] = ()
    doubling: ClassVar = staticmethod(_transposed)  # of all levels but the innermost and the outermost

    def __init__(self) -> None:
        super().__init__()
        level = Level(WIDTHS[-2], WIDTHS[-1], None, _transposed(WIDTHS[-1], WIDTHS[-2]))
        for channels, width in reversed(list(pairwise(WIDTHS[:-1]))):
            level = Level(channels, width, level, self.doubling(2 * width, channels))
        first, last = nn.Conv2d(3, WIDTHS[0], 4, stride=2, padding=1), _transposed(2 * WIDTHS[0], 1)
        self.model = nn.ModuleDict({"model": nn.ModuleDict({"0": first, "1": level, "3": last})})

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        first, level, last = self.model["model"].values()  # type: ignore[operator]
        return torch.tanh_(last(F.relu_(level(first(picture)))))


class Anime2SketchImproved(Anime2Sketch):
    """RGB in [-1, 1] (N, 3, h, w) -> sketch (N, 1, h, w) in [-1, 1], -1 line."""

    doubling: ClassVar = SmoothUp


@dataclass(frozen=True)
class Squash:
    """The picture as a square of `side` pixels, bicubic there and back. Multiples of 256."""

    name: str
    side: int

    def prepare(self, picture: Picture) -> Planes:
        """(H, W, 3) or (H, W) -> (3, side, side) in [-1, 1]."""
        return _signed(squash(rgb(picture), self.side, self.side))

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) -> (N, h, w) in [-1, 1]."""
        return network(planes)[:, 0]

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> Plane:
        """(side, side) in [-1, 1] -> sketch of `size` = (H, W) in [0, 1], 0 line."""
        return np.clip(unsquash(output, size) * 0.5 + 0.5, 0, 1)


@dataclass(frozen=True)
class Multiple:
    """The picture stretched to the next multiples of 256, bicubic there and back.

    short_side: first brings the short side to it and both sides to multiples of 64 (lineart_sk.in_64s, where the long
    side grows to 4096 at most); 0: the picture keeps its size.
    """

    name: str
    short_side: int = 0

    def prepare(self, picture: Picture) -> Planes:
        """(H, W, 3) or (H, W) -> (3, h, w) in [-1, 1]."""
        picture = rgb(picture)
        if self.short_side:
            picture = brought_to_64s(picture, self.short_side)
        height, width = picture.shape[:2]
        fed = -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE
        return _signed(_resized(picture, fed, cv2.INTER_CUBIC))

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) -> (N, h, w) in [-1, 1]."""
        return network(planes)[:, 0]

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> Plane:
        """(h, w) in [-1, 1] -> sketch of `size` = (H, W) in [0, 1], 0 line."""
        detected = in_64s(size, self.short_side) if self.short_side else size
        sketch = np.clip(_resized(output, detected, cv2.INTER_CUBIC) * 0.5 + 0.5, 0, 1)
        return _resized(sketch, size, cv2.INTER_LINEAR)


def _signed(picture: Picture) -> Planes:
    """(H, W, 3) -> (3, H, W) in [-1, 1]."""
    signed = planes(picture, 1 / 127.5)
    signed -= 1
    return signed


def _resized(pixels: Pixels, size: tuple[int, int], how: int) -> Pixels:
    return pixels if pixels.shape[:2] == size else cv2.resize(pixels, size[::-1], interpolation=how)  # type: ignore


# released: Anime2Sketch and ColorizeDiffusion; multiple-256: its square rounded up instead, as controlnet_aux does
# after it has brought the short side to 512 (controlnet-aux).
CONVENTIONS: Mapping[str, Squash | Multiple] = MappingProxyType(
    {
        "released": Squash("released", 512),
        "colorizediffusion-xl": Squash("colorizediffusion-xl", 768),
        "multiple-256": Multiple("multiple-256"),
        "controlnet-aux": Multiple("controlnet-aux", short_side=512),
    }
)
