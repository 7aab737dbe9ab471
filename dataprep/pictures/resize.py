"""Sizes and resizing of colour pictures: area averaging where a side shrinks, bicubic where it grows."""

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Fit = Literal["squash", "cover", "contain"]


def resize_color(
    rgb: npt.NDArray[np.uint8], width: int, height: int, extent: tuple[float, float] | None = None
) -> npt.NDArray[np.uint8]:
    """Resize each side on its own, uint8 (H, W, 3) -> uint8 (height, width, 3).

    `extent` is the part of (W, H) that the picture really fills (`pictures.Picture.extent`); without it all of it.
    """
    if extent is None:
        size = min(width, rgb.shape[1]), min(height, rgb.shape[0])
        shrunk = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    else:  # exact scales; what lies beyond the extent makes at most one column and row, which are cut off
        scale_x, scale_y = min(1.0, width / extent[0]), min(1.0, height / extent[1])
        shrunk = cv2.resize(rgb, None, fx=scale_x, fy=scale_y, interpolation=cv2.INTER_AREA)[:height, :width]
    if shrunk.shape[:2] != (height, width):
        shrunk = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(shrunk, dtype=np.uint8)


def fitted_size(size: tuple[int, int], width: int, height: int, fit: Fit) -> tuple[int, int]:
    """(width, height) of a picture of this (width, height) made to fit: exactly, or with its aspect ratio kept so that
    it just covers the wanted size or just stays inside it.
    """
    if fit == "squash":
        return width, height
    scales = width / size[0], height / size[1]
    if fit == "cover":
        return max(width, round(size[0] * max(scales))), max(height, round(size[1] * max(scales)))
    return max(1, round(size[0] * min(scales))), max(1, round(size[1] * min(scales)))
