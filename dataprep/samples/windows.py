"""Where a sample is cut out of its picture: scaled to cover a window, which is then placed in what is left free."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.pictures.decode import Picture
from dataprep.pictures.resize import WHITE, Bytes, resize_color, resize_labels, resize_mask, resize_sketch


@dataclass(frozen=True)
class Window:
    """A rectangle in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """This part of a picture (H, W) or (H, W, C); a view."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Crop:
    """A picture scaled to `size` (width, height), of which `window` is kept: the same part of all that lies on it."""

    size: tuple[int, int]
    window: Window

    @classmethod
    def placed(cls, size: tuple[int, int], width: int, height: int, offset: tuple[float, float]) -> "Crop":
        """A window of width x height; `offset` (down, right) in [0, 1) places it in what `size` leaves free."""
        down, right = size[1] - height, size[0] - width
        return cls(
            size,
            Window(min(int(offset[0] * (down + 1)), down), min(int(offset[1] * (right + 1)), right), height, width),
        )

    def color(self, picture: Picture) -> Bytes:
        """uint8 (height, width, 3)."""
        return self.window.cut(resize_color(picture.rgb, *self.size, picture.extent))

    def sketch(self, gray: Bytes) -> Bytes:
        """Black lines on white, uint8 (H, W) -> (height, width)."""
        return self.window.cut(resize_sketch(gray, *self.size))

    def mask(self, mask: Bytes) -> Bytes:
        """uint8 (H, W) -> (height, width)."""
        return self.window.cut(resize_mask(mask, *self.size))

    def labels(self, labels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
        """uint16 (H, W) -> (height, width)."""
        return self.window.cut(resize_labels(labels, *self.size))


def cover_size(picture: npt.NDArray[Any], width: int, height: int, rescale: float = 1.0) -> tuple[int, int]:
    """(width, height) of a picture scaled to just cover a window, times `rescale`; never smaller than the window."""
    return cover((picture.shape[1], picture.shape[0]), width, height, rescale)


def cover(size: tuple[float, float], width: int, height: int, rescale: float = 1.0) -> tuple[int, int]:
    """`cover_size` of a picture of which only the (width, height) is known."""
    scale = rescale * max(width / size[0], height / size[1])
    return max(width, round(size[0] * scale)), max(height, round(size[1] * scale))


def blank_border(gray: Bytes, shares: npt.NDArray[np.float64]) -> Bytes:
    """The sketch with these shares of its top, bottom, left and right sides returned to white paper."""
    height, width = gray.shape
    top, bottom, left, right = np.rint(shares * (height, height, width, width)).astype(int)
    kept = np.full_like(gray, WHITE)
    inside = np.s_[top : height - bottom, left : width - right]
    kept[inside] = gray[inside]
    return kept
