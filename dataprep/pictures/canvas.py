"""Pictures of one size: each fitted into a square, what the picture leaves free filled with its mirror image.

RASC IV.B brings all pictures to 256 x 256 "using mirror padding": the longer side becomes the square's, the picture
stands in the middle. A build that has a canvas places picture, drawn sketch and mask on it before any operator looks,
so all columns of a row have that size. The filters judge the source's own size.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.pictures.decode import Picture
from dataprep.pictures.resize import fitted_size, resize_color, resize_sketch

VERSION = 1  # raise when the same settings give other pixels
_BORDERS = {"mirror": cv2.BORDER_REFLECT_101, "white": cv2.BORDER_CONSTANT}

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class CanvasSettings:
    """size: the side of the square in pixels, 0 leaves pictures as they are. padding: what fills the rest of it."""

    size: int = 0
    padding: Literal["mirror", "white"] = "mirror"

    def __post_init__(self) -> None:
        if not 0 <= self.size <= 8192:
            raise ValueError(f"size is a side in pixels, at most 8192, or 0, got {self.size}")

    def described(self) -> dict[str, Any]:
        """What every operator's settings say of the canvas: nothing where there is none."""
        return {"canvas": asdict(self) | {"version": VERSION}} if self.size else {}


@dataclass(frozen=True)
class Placement:
    """A picture of (height, width) `source` on a canvas; places what belongs to it, at whatever size that comes."""

    settings: CanvasSettings
    source: tuple[int, int]

    def color(self, rgb: Bytes) -> Bytes:
        """uint8 (H, W, 3) -> (size, size, 3)."""
        return self._padded(resize_color(rgb, *self._inner()), 255)

    def sketch(self, gray: Bytes) -> Bytes:
        """Black lines on white, uint8 (H, W) -> (size, size); thin lines survive."""
        return self._padded(resize_sketch(gray, *self._inner()), 255)

    def mask(self, gray: Bytes) -> Bytes:
        """White is foreground, uint8 (H, W) -> (size, size)."""
        shrinks = max(self.source) > self.settings.size
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return self._padded(np.asarray(cv2.resize(gray, self._inner(), interpolation=method), np.uint8), 0)

    def _inner(self) -> tuple[int, int]:
        """(width, height) of the picture on the canvas."""
        return fitted_size(self.source[::-1], self.settings.size, self.settings.size, "contain")

    def _padded(self, pixels: Bytes, paper: int) -> Bytes:
        down, right = (self.settings.size - side for side in pixels.shape[:2])
        sides = down // 2, down - down // 2, right // 2, right - right // 2
        border = _BORDERS[self.settings.padding]
        return np.asarray(cv2.copyMakeBorder(pixels, *sides, border, value=(paper,) * 3), np.uint8)


def placed(picture: Picture, settings: CanvasSettings) -> tuple[Picture, Placement | None]:
    """The picture on the canvas, and how it lies there; the picture itself where there is no canvas or it fits."""
    if not settings.size:
        return picture, None
    height, width = picture.rgb.shape[:2]
    placement = Placement(settings, (height, width))
    if height == width == settings.size:
        return picture, placement
    alpha = None if picture.alpha is None else placement.mask(picture.alpha)
    rgb = placement.color(picture.rgb)
    return replace(picture, rgb=rgb, alpha=alpha, source_is_plain_rgb=False, extent=None), placement
