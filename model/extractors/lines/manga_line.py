"""Structural lines of manga and illustrations: Li, Liu, Wong, "Deep Extraction of Manga Structural Lines" (2017).

A residual network with the norm before the convolution, as the port MangaLineExtraction_PyTorch publishes it: five
stages down to 1/16, four up, each summed with its like. Screen tone and colour go, outlines stay. One channel of 0 to
255 in and out, which the published weights expect.

Shapes: N batch; C channels; h, w multiples of 16.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from model.extractors.convention import Picture, Planes
from model.extractors.fitting import Plane, gray, pad, planes, rgb, squash, unsquash

DOWN = ((24, 2), (48, 3), (96, 5), (192, 7), (384, 12))  # channels and blocks of each stage
UP = ((192, 7), (96, 5), (48, 3), (24, 2))
LAST = (16, 2)
MULTIPLE = 16


class Unit(nn.Module):
    """Norm, leaky ReLU, convolution (zero padding), and nearest x2 where asked. (N, C, h, w)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, up: bool = False) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.BatchNorm2d(channels_in, eps=1e-3),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2),
            *((nn.Upsample(scale_factor=2),) if up else ()),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class Shortcut(nn.Module):
    """The input on its way around a block: as it is, or through a 1x1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, up: bool) -> None:
        super().__init__()
        self.model: nn.Module | None = None
        if channels_in != channels_out or stride != 1:
            convolution = nn.Conv2d(channels_in, channels_out, 1, stride)
            self.model = nn.Sequential(convolution, *((nn.Upsample(scale_factor=2),) if up else ()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.model is None else self.model(x)


class Block(nn.Module):
    """Two units beside a shortcut; the sum has no activation."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, up: bool = False) -> None:
        super().__init__()
        self.conv1 = Unit(channels_in, channels_out, stride=stride, up=up)
        self.residual = Unit(channels_out, channels_out)
        self.shortcut = Shortcut(channels_in, channels_out, stride, up)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.residual(self.conv1(x)).add_(self.shortcut(x))


class Stage(nn.Module):
    """`count` blocks; the size changes in the last one on the way down (unlike ResNet), in the first on the way up."""

    def __init__(self, channels_in: int, channels_out: int, count: int, change: Literal["", "down", "up"] = "") -> None:
        super().__init__()
        self.model = nn.Sequential(
            *(
                Block(
                    channels_out if i else channels_in,
                    channels_out,
                    stride=2 if change == "down" and i == count - 1 else 1,
                    up=change == "up" and i == 0,
                )
                for i in range(count)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class MangaLine(nn.Module):
    """(N, 1, h, w) of 0 to 255 -> lines (N, 1, h, w), dark on 255, a little beyond 0 to 255; h, w multiples of 16."""

    half_precision: ClassVar[tuple[str, ...]] = ("float16",)  # bfloat16 is 3e-2 off the golden vectors

    def __init__(self) -> None:
        super().__init__()
        channels = 1
        for i, (width, count) in enumerate(DOWN):
            self.add_module(f"block{i}", Stage(channels, width, count, "down" if i else ""))
            channels = width
        for i, (width, count) in enumerate(UP, start=len(DOWN)):
            self.add_module(f"block{i}", Stage(channels, width, count, "up"))
            channels = width
        self.block9 = Stage(channels, *LAST)
        self.conv15 = Unit(LAST[0], 1, kernel=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for i in range(len(DOWN)):
            x = self.get_submodule(f"block{i}")(x)
            skips.append(x)
        skips.pop()
        for i in range(len(DOWN), len(DOWN) + len(UP)):
            x = self.get_submodule(f"block{i}")(x).add_(skips.pop())
        return self.conv15(self.block9(x))


@dataclass(frozen=True)
class MangaLineConvention:
    """Gray, or the red channel; at its own size and padded to a multiple of 16, or squashed to `square`."""

    name: str
    channel: Literal["gray", "red"] = "gray"
    fill: int | None = None  # of the padding; None: the border goes on
    square: int = 0  # 0: own size

    def prepare(self, picture: Picture) -> Planes:
        """(1, h, w) of 0 to 255 for RGB or line art of any size."""
        if self.square:
            picture = squash(picture, self.square, self.square)
        plane = gray(picture) if self.channel == "gray" else rgb(picture)[..., 0]
        return planes(pad(plane, MULTIPLE, fill=self.fill))

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        """(N, 1, h, w) -> lines (N, 1, h, w)."""
        return network(planes)

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> Plane:
        """(1, h, w) -> (H, W) in [0, 1], 0 line."""
        lines = unsquash(output[0], size) if self.square else output[0, : size[0], : size[1]]
        return np.clip(lines / np.float32(255), 0, 1)


# `reference` is the port's own script: beside its nearly black padding a line may be drawn. Later interfaces repeat the
# border. ColorizeDiffusion's interface squashes to 512 and takes the red channel for gray.
CONVENTIONS: Mapping[str, MangaLineConvention] = MappingProxyType(
    {
        convention.name: convention
        for convention in (
            MangaLineConvention("gray-replicate"),
            MangaLineConvention("reference", fill=1),
            MangaLineConvention("colorizediffusion", channel="red", square=512),
        )
    }
)
