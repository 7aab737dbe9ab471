"""Line art of illustrations: sketchKeras, under the keys of its PyTorch port, which are those of the published file.

A U-Net reads the detail of one colour channel (the channel less its blur) and gives lines; the three channels run as a
batch and the strongest line counts. Each doubling of the size is nearest x2 and a 4x4 convolution, 80 % of all work:
there neighbours are equal, so `fused` sums their weights beforehand, 25 products for the 64, with equal results.

Sources: lllyasviel/sketchKeras ("original", three readings), higumax/sketchKeras-pytorch ("port"), and
ColorizeDiffusion with its XL, which double bicubically instead.
Shapes: N pictures; h, w multiples of 16, at least 32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.extractors.convention import Picture, Planes
from model.extractors.fitting import Plane, rgb, squash, unsquash

Upsampling = Literal["nearest", "bicubic"]
CHANNELS = (32, 64, 128, 256, 512)
THRESHOLDS = {"enhanced": 0.10, "plain": 0.0, "pured": 0.18}  # lines weaker than that are paper


class Doubling(nn.Conv2d):
    """(N, C, h, w) -> (N, D, 2h, 2w): upsampling x2, reflection padding, 4x4 convolution."""

    # One axis after nearest x2, whose rows 2i and 2i + 1 are row i of the input: which of the four taps fall on the
    # same row, the rows they read (of the input with its border repeated once), and the rows that come out.
    PHASES: ClassVar = {
        "even": (((0,), (1, 2), (3,)), slice(None), slice(None, None, 2)),
        "odd": (((0, 1), (2, 3)), slice(1, -1), slice(1, -1, 2)),
        "last": (((3,), (0, 1, 2)), slice(-3, -1), slice(-1, None)),  # reflection comes back to the row before
    }

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, kernel_size=4)
        self.by_phase = False

    def split(self) -> None:
        """From now on nearest doubling is done by phase, with the present weights."""
        for row, (row_taps, _, _) in self.PHASES.items():
            rows = torch.stack([self.weight[:, :, taps].sum(2) for taps in row_taps], 2)
            for column, (column_taps, _, _) in self.PHASES.items():
                kernel = torch.stack([rows[..., taps].sum(3) for taps in column_taps], 3)
                self.register_buffer(f"{row}_{column}", kernel.detach(), persistent=False)
        self.by_phase = True

    def forward(self, x: torch.Tensor, upsampling: Upsampling = "nearest") -> torch.Tensor:
        if self.by_phase and upsampling == "nearest":
            return self._phases(x)
        return super().forward(F.pad(F.interpolate(x, scale_factor=2, mode=upsampling), (1, 2, 1, 2), "reflect"))

    def _phases(self, x: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = x.shape
        x = F.pad(x, (1, 1, 1, 1), "replicate")
        doubled = x.new_empty(batch, self.out_channels, 2 * height, 2 * width)
        for row, (_, rows, to_rows) in self.PHASES.items():
            for column, (_, columns, to_columns) in self.PHASES.items():
                kernel = self.get_buffer(f"{row}_{column}")
                doubled[..., to_rows, to_columns] = F.conv2d(x[..., rows, columns], kernel, self.bias)
        return doubled


def _unit(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride)
    return nn.ReflectionPad2d(1), convolution, *_norm(channels_out)


def _norm(channels: int) -> tuple[nn.Module, ...]:
    return nn.BatchNorm2d(channels, eps=1e-3), nn.ReLU(inplace=True)


class UpBlock(nn.ModuleList):
    """Doubles the size, then one unit. The published indices count upsampling and padding as layers of their own."""

    def __init__(self, channels_in: int, channels: int, channels_out: int) -> None:
        doubling = Doubling(channels_in, channels)
        super().__init__((nn.Identity(), nn.Identity(), doubling, *_norm(channels), *_unit(channels, channels_out)))

    def forward(self, x: torch.Tensor, upsampling: Upsampling) -> torch.Tensor:
        _, _, doubling, *others = self
        x = doubling(x, upsampling)
        for layer in others:
            x = layer(x)
        return x


class SketchKeras(nn.Module):
    """Detail of single channels (N, 1, h, w), about -1 to 1, -> lines (N, 1, h, w): 1 line, 0 paper, not clipped."""

    half_precision: ClassVar[tuple[str, ...]] = ("float16",)  # bfloat16: off by 1.5e-2

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d, e = CHANNELS
        self.downblock_1 = nn.Sequential(*_unit(1, a))
        self.downblock_2 = nn.Sequential(*_unit(a, b, kernel=4, stride=2), *_unit(b, b))
        self.downblock_3 = nn.Sequential(*_unit(b, c, kernel=4, stride=2), *_unit(c, c))
        self.downblock_4 = nn.Sequential(*_unit(c, d, kernel=4, stride=2), *_unit(d, d))
        self.downblock_5 = nn.Sequential(*_unit(d, e, kernel=4, stride=2))
        self.downblock_6 = nn.Sequential(*_unit(e, e))
        self.upblock_1 = UpBlock(2 * e, e, d)
        self.upblock_2 = UpBlock(2 * d, d, c)
        self.upblock_3 = UpBlock(2 * c, c, b)
        self.upblock_4 = UpBlock(2 * b, b, a)
        self.last_conv = nn.Conv2d(2 * a, 1, 3)

    def forward(self, detail: torch.Tensor, upsampling: Upsampling = "nearest") -> torch.Tensor:
        skip1 = self.downblock_1(detail)
        skip2 = self.downblock_2(skip1)
        skip3 = self.downblock_3(skip2)
        skip4 = self.downblock_4(skip3)
        skip5 = self.downblock_5(skip4)
        x = self.downblock_6(skip5)
        x = self.upblock_1(torch.cat((skip5, x), 1), upsampling)
        x = self.upblock_2(torch.cat((skip4, x), 1), upsampling)
        x = self.upblock_3(torch.cat((skip3, x), 1), upsampling)
        x = self.upblock_4(torch.cat((skip2, x), 1), upsampling)
        return self.last_conv(F.pad(torch.cat((skip1, x), 1), (1, 1, 1, 1), "reflect"))

    def fused(self) -> "FusedSketchKeras":
        """The same network for inference, faster and equal up to rounding. Call it in float32, with weights loaded."""
        return FusedSketchKeras(self)


class FusedSketchKeras(SketchKeras):
    """SketchKeras with its norms within the convolutions and doubling by phase; its keys are not the published ones."""

    half_precision: ClassVar[tuple[str, ...]] = ("float16", "bfloat16")

    def __init__(self, network: SketchKeras) -> None:
        with torch.device("meta"):
            super().__init__()
        self.load_state_dict(network.state_dict(), assign=True)
        self.eval().requires_grad_(False)
        for block in self.children():
            if isinstance(block, nn.Sequential | nn.ModuleList):
                _fold_norms(block)
        for module in self.modules():
            if isinstance(module, Doubling):
                module.split()


def _fold_norms(block: nn.Sequential | nn.ModuleList) -> None:
    for i, (convolution, norm) in enumerate(pairwise(block), start=1):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block[i - 1] = fuse_conv_bn_eval(convolution, norm)
            block[i] = nn.Identity()


@dataclass(frozen=True)
class HighPass:
    """How a picture's detail reaches the network, and how its lines are read.

    resize: "area" and "linear" bring the long side to `side` and pad with zeros at the right and the bottom; "squash"
    makes a square of it, bicubically. The order of the channels does not matter, so it stays RGB.
    """

    name: str
    threshold: float  # 0 to 1
    resize: Literal["area", "linear", "squash"]
    upsampling: Upsampling = "nearest"
    side: int = 512

    def prepare(self, picture: Picture) -> Planes:
        """(H, W, 3) or (H, W) -> detail (3, side, side), at most 1."""
        height, width = self._fitted(picture.shape[0], picture.shape[1])
        if self.resize == "squash":
            picture = squash(rgb(picture), height, width)
        else:
            how = cv2.INTER_AREA if self.resize == "area" else cv2.INTER_LINEAR
            picture = cv2.resize(rgb(picture), (width, height), interpolation=how)  # type: ignore[assignment]
        planes = np.zeros((3, self.side, self.side), np.float32)
        planes[:, :height, :width] = detail(picture).transpose(2, 0, 1)
        return planes

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) -> the strongest line of the three channels (N, h, w)."""
        return network(planes.flatten(0, 1)[:, None], self.upsampling).view_as(planes).amax(1)

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> Plane:
        """Lines (side, side) -> sketch of `size` = (H, W) in [0, 1], 0 line. The originals leave it at `side`."""
        height, width = self._fitted(*size)
        lines = output[:height, :width]
        sketch = 1 - np.where(lines < self.threshold, 0, lines)
        return np.clip(unsquash(np.clip(sketch, 0, 1), size), 0, 1)

    def _fitted(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) within the square, rounded down in the originals' order of operations."""
        if self.resize == "squash":
            return self.side, self.side
        if width > height:
            return max(1, int(self.side / width * height)), self.side
        return self.side, max(1, int(self.side / height * width))


def detail(picture: Picture) -> npt.NDArray[np.float32]:
    """A picture (H, W, C) less its blur (sigma 3, in whole steps), over the greatest value; zeros where it is even."""
    blurred = cv2.GaussianBlur(picture, (0, 0), 3)
    difference = np.subtract(picture, blurred, dtype=np.int16)
    return np.divide(difference, max(1, int(difference.max())), dtype=np.float32)


def _conventions() -> dict[str, HighPass]:
    ways = {
        "original": ("area", "nearest", 512),
        "port": ("linear", "nearest", 512),
        "colorizediffusion": ("squash", "bicubic", 512),
        "colorizediffusion-xl": ("squash", "bicubic", 768),
    }
    names = ((f"{way}-{lines}", threshold, ways[way]) for way in ways for lines, threshold in THRESHOLDS.items())
    return {name: HighPass(name, threshold, *way) for name, threshold, way in names}  # type: ignore[arg-type]


# "<whose way>-<reading>". The port and ColorizeDiffusion publish the reading "enhanced" alone.
CONVENTIONS: Mapping[str, HighPass] = MappingProxyType(_conventions())
