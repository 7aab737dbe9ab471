"""How ISNet's weights are fed by those who publish and use them; the input is 1024 x 1024 in all of them.

`skytnt` keeps the picture's shape, on black, as its authors do. The others squash; `rembg` and `dis` also stretch each
mask to its own minimum and maximum, so that a picture without a foreground comes out with one. Masks are soft: whoever
uses them takes the threshold. ColorizeDiffusion's other way, in which `isnetis` is given inverted colours, is left out.

Sources: SkyTNT/anime-segmentation (inference script), rembg 2.0 (sessions of both ISNets), xuebinqin/DIS (inference
script), @imgly/background-removal 1.4.5, ColorizeDiffusion (preprocessor).

Shapes: H, W picture; S side of the input. RGB is repeated where line art (H, W) is given.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from model.extractors.convention import Convention, Picture, Planes
from model.extractors.fitting import planes, rgb

Mask = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Masked(ABC):
    name: str
    side: int = 1024

    def infer(self, network: nn.Module, planes: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, S, S), 1 = foreground."""
        return network(planes)[:, 0]

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> Mask:
        """(S, S) -> (H, W) in [0, 1]; NaN throughout where the output is not finite: some ways back would hide it."""
        return self._finished(output, size) if np.isfinite(output).all() else np.full(size, np.nan, np.float32)

    @abstractmethod
    def _finished(self, output: Mask, size: tuple[int, int]) -> Mask: ...


@dataclass(frozen=True)
class Letterboxed(_Masked):
    """RGB / 255, the long side at S, bilinear without antialiasing, in the middle of black."""

    def prepare(self, picture: Picture) -> Planes:
        picture = rgb(picture)
        top, left, height, width = self._frame(*picture.shape[:2])
        canvas = np.zeros((3, self.side, self.side), np.float32)
        for channel, plane in zip(_channels(picture), canvas, strict=True):
            np.divide(_linear(channel, (height, width)), 255, out=plane[top : top + height, left : left + width])
        return canvas

    def _finished(self, output: Mask, size: tuple[int, int]) -> Mask:
        top, left, height, width = self._frame(*size)
        return _linear(output[top : top + height, left : left + width], size)

    def _frame(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Where the picture lies in the square: top, left, height, width."""
        inner_height = self.side if height > width else max(1, self.side * height // width)
        inner_width = max(1, self.side * width // height) if height > width else self.side
        return (self.side - inner_height) // 2, (self.side - inner_width) // 2, inner_height, inner_width


@dataclass(frozen=True)
class Stretched(_Masked):
    """Lanczos to S x S, divided by the picture's maximum, minus `mean`; the mask stretched, cut to 8 bits, Lanczos.

    The mean is that of `isnetis`; rembg has another one for the general weights.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)

    def prepare(self, picture: Picture) -> Planes:
        small = np.asarray(Image.fromarray(rgb(picture)).resize((self.side, self.side), Image.Resampling.LANCZOS))
        return planes(small, 1 / max(float(small.max()), 1e-6)) - np.array(self.mean, np.float32)[:, None, None]

    def _finished(self, output: Mask, size: tuple[int, int]) -> Mask:
        mask = Image.fromarray((_stretched(output) * 255).astype(np.uint8))
        return np.asarray(mask.resize(size[::-1], Image.Resampling.LANCZOS), np.float32) / np.float32(255)


@dataclass(frozen=True)
class Published(_Masked):
    """The script of the network's authors: bilinear to S x S, cut to 8 bits, / 255 - 0.5; the mask stretched."""

    def prepare(self, picture: Picture) -> Planes:
        return np.stack([self._squashed(channel) for channel in _channels(rgb(picture))])

    def _finished(self, output: Mask, size: tuple[int, int]) -> Mask:
        return _stretched(_linear(output, size))

    def _squashed(self, channel: Mask) -> Mask:
        """By torch as there: where equal values meet, another library's last bit would fall to the next integer."""
        square = (self.side, self.side)
        whole = F.interpolate(torch.from_numpy(channel)[None, None], square, mode="bilinear", align_corners=False)
        return whole[0, 0].floor_().div_(255).sub_(0.5).numpy()


@dataclass(frozen=True)
class Cornered(_Masked):
    """(x - 128) / 256, and bilinear from the upper left corner in 8 bits, both for the picture and the mask."""

    def prepare(self, picture: Picture) -> Planes:
        return (planes(_from_corner(rgb(picture), (self.side, self.side))) - np.float32(128)) / np.float32(256)

    def _finished(self, output: Mask, size: tuple[int, int]) -> Mask:
        return _from_corner((output * 255).astype(np.uint8), size).astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class Signed(_Masked):
    """[-1, 1], white paper +1, and bicubic without antialiasing, both for the sketch and the mask."""

    def prepare(self, picture: Picture) -> Planes:
        square = (self.side, self.side)
        return np.stack([_cubic(channel, square) for channel in _channels(rgb(picture))]) / np.float32(127.5) - 1

    def _finished(self, output: Mask, size: tuple[int, int]) -> Mask:
        return np.clip(_cubic(output, size), 0, 1)


CONVENTIONS: Mapping[str, Convention] = {
    convention.name: convention
    for convention in (
        Letterboxed("skytnt"),
        Stretched("rembg"),
        Stretched("rembg-general", mean=(0.5, 0.5, 0.5)),
        Published("dis"),
        Cornered("imgly"),
        Signed("colorizediffusion-sketch"),
    )
}


def _channels(picture: Picture) -> Iterator[Mask]:
    """0 to 255, one at a time: the floats of a large picture take a third of the memory."""
    return (picture[..., channel].astype(np.float32) for channel in range(3))


def _linear(plane: Mask, size: tuple[int, int]) -> Mask:
    return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _cubic(plane: Mask, size: tuple[int, int]) -> Mask:
    return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _stretched(mask: Mask) -> Mask:
    """`mask` from its own minimum at 0 to its maximum at 1; a flat one is no foreground."""
    low, high = mask.min(), mask.max()
    return (mask - low) / (high - low) if high > low else np.zeros_like(mask)


def _from_corner(picture: Picture, size: tuple[int, int]) -> Picture:
    """Bilinear where output pixel (y, x) lies at (y H / h, x W / w) of the input, rounded half up."""
    mixed: npt.NDArray[Any] = picture
    for axis in sorted((0, 1), key=lambda axis: size[axis] / picture.shape[axis]):  # what shrinks most first
        mixed = _mixed(mixed, size[axis], axis)
    return np.floor(mixed + np.float32(0.5)).astype(np.uint8)


def _mixed(array: npt.NDArray[Any], count: int, axis: int) -> npt.NDArray[np.float32]:
    position = np.arange(count) * (array.shape[axis] / count)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(np.ceil(position).astype(np.int64), array.shape[axis] - 1)
    weight = (position - low).astype(np.float32).reshape(-1, *(1,) * (array.ndim - 1 - axis))
    mixed: npt.NDArray[np.float32] = np.take(array, low, axis) * (1 - weight) + np.take(array, high, axis) * weight
    return mixed
