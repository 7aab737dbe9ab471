"""Line drawings that keep a picture's meaning: Chan, Durand and Isola, "Learning to generate line drawings that convey
geometry and semantics" (CVPR 2022), section 3; the file `sk_model.pth` that ColorizeDiffusion and ControlNet share.

A residual generator at a quarter of the size, 3 blocks. Instance norms make every pixel depend on the whole picture,
and take the scale out of the input: 0 to 255 and 0 to 1 give the same lines.

Shapes: N batch; C channels; h, w from 8 up. Sides that are no multiple of 4 come out at the next one, h', w'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from model.extractors.convention import Picture, Planes
from model.extractors.fitting import Plane, pad, planes, rgb, squash, unsquash

CHANNELS = (64, 128, 256)
BLOCKS = 3
LEAST = 8  # reflection and instance norm need 2 pixels at a quarter of the size
LONGEST = 4096  # of a side that grows with the short one: strips would take all memory


class Block(nn.Module):
    """x + two reflected 3x3 convolutions with instance norms, at one width. (N, C, h, w), h and w from 2 up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            *_normed(channels),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv_block(x).add_(x)


class InformativeDrawing(nn.Module):
    """RGB (N, 3, h, w), by default of 0 to 1 -> lines (N, 1, h', w') in [0, 1], 0 line."""

    half_precision: ClassVar[tuple[str, ...]] = ("float16",)  # bfloat16: 2e-2

    def __init__(self) -> None:
        super().__init__()
        full, half, quarter = CHANNELS
        self.model0 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, full, 7), *_normed(full))
        self.model1 = nn.Sequential(*_halved(full, half), *_halved(half, quarter))
        self.model2 = nn.Sequential(*(Block(quarter) for _ in range(BLOCKS)))
        self.model3 = nn.Sequential(*_doubled(quarter, half), *_doubled(half, full))
        self.model4 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(full, 1, 7), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in (self.model0, self.model1, self.model2, self.model3, self.model4):
            x = part(x)
        return x


def _normed(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)


def _halved(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1), *_normed(channels_out)


def _doubled(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    up = nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)
    return up, *_normed(channels_out)


@dataclass(frozen=True)
class LineArtConvention:
    """RGB times `scale` at the size that `sized` says; below 8 pixels the border goes on.

    own: the picture's size. short: the short side is `side`, see `growth`. short-64: see `in_64s`. square: `side` by
    `side`, squashed.
    """

    name: str
    sized: Literal["own", "short", "short-64", "square"]
    side: int = 0
    scale: float = 1 / 255

    def prepare(self, picture: Picture) -> Planes:
        """(3, h, w) for RGB or line art of any size."""
        return planes(pad(self._resized(rgb(picture)), least=LEAST), self.scale)

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) -> lines (N, 1, h, w)."""
        return network(planes)

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> Plane:
        """(1, h, w) -> (H, W) in [0, 1], 0 line."""
        height, width = self.resized(size)
        lines = np.ascontiguousarray(output[0, :height, :width])
        if self.sized == "short-64":
            return cv2.resize(lines, size[::-1], interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]
        return np.clip(unsquash(lines, size), 0, 1)

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (H, W) at which a picture of `size` is fed."""
        if self.sized == "own":
            return size
        if self.sized == "square":
            return self.side, self.side
        if self.sized == "short-64":
            return in_64s(size, self.side)
        times, over = growth(size, self.side)
        height, width = (max(1, length * times // over) for length in size)
        return height, width

    def _resized(self, picture: Picture) -> Picture:
        if self.sized == "short-64":
            return brought_to_64s(picture, self.side)
        return squash(picture, *self.resized((picture.shape[0], picture.shape[1])))


def growth(size: tuple[int, int], side: int) -> tuple[int, int]:
    """What both sides are multiplied by and divided by: the short one becomes `side`, or, if that is less, the long one
    LONGEST; one that is longer already does not grow.
    """
    short, long = min(size), max(size)
    most = max(long, LONGEST)
    return (side, short) if side * long <= most * short else (most, long)


def in_64s(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The (H, W) at which ControlNet's annotators work: grown as `growth` says, in multiples of 64, at least one."""
    times, over = growth(size, side)
    height, width = (max(1, round(length * (times / over) / 64)) * 64 for length in size)  # in floats, as there
    return height, width


def brought_to_64s(picture: Picture, side: int) -> Picture:
    """(H, W, 3) at the size that `in_64s` says: by Lanczos if it grows, else by area."""
    size = picture.shape[0], picture.shape[1]
    times, over = growth(size, side)
    way = cv2.INTER_LANCZOS4 if times > over else cv2.INTER_AREA
    return cv2.resize(picture, in_64s(size, side)[::-1], interpolation=way)  # type: ignore[return-value]


# The authors run it at 256, ControlNet's annotators at 512 in multiples of 64, ColorizeDiffusion's interface squashed
# to 512 and unscaled (lines there reach half of their strength: the sigmoid is negated, not stretched; here black).
CONVENTIONS: Mapping[str, LineArtConvention] = MappingProxyType(
    {
        convention.name: convention
        for convention in (
            LineArtConvention("own-size", "own"),
            LineArtConvention("informative-drawings", "short", 256),
            LineArtConvention("controlnet-aux", "short-64", 512),
            LineArtConvention("colorizediffusion", "square", 512, scale=1.0),
        )
    }
)
