"""Sizes and resizing of pictures, each sort in its own way: colours, line art, masks, region maps."""

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Fit = Literal["squash", "cover", "contain"]
WHITE = 255


def resize_color(rgb: Bytes, width: int, height: int, extent: tuple[float, float] | None = None) -> Bytes:
    """Resize each side on its own, uint8 (H, W, 3) -> uint8 (height, width, 3): averaged where it shrinks, bicubic
    where it grows.

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


def resize_sketch(gray: Bytes, width: int, height: int) -> Bytes:
    """Resize black lines on white so that thin lines survive, uint8 (H, W) -> uint8 (height, width).

    Averaging over a shrink of f leaves 1/f of the ink of a one-pixel line; the ink is multiplied by sqrt(f), half-way
    (in ratio) between fading lines and filling in hatching. Growing is linear: the paper stays exactly white.
    """
    shrunk = cv2.resize(gray, (min(width, gray.shape[1]), min(height, gray.shape[0])), interpolation=cv2.INTER_AREA)
    shrink = np.sqrt(gray.size / shrunk.size)
    ink = np.minimum((WHITE - np.arange(256, dtype=np.float32)) * np.sqrt(shrink), WHITE)
    inked = cv2.LUT(shrunk, (WHITE - np.rint(ink)).astype(np.uint8))
    return np.asarray(cv2.resize(inked, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def resize_mask(mask: Bytes, width: int, height: int) -> Bytes:
    """Resize a mask, uint8 (H, W) -> uint8 (height, width): averaged where it shrinks, linear where it grows, so that
    no value leaves the range of its neighbours.
    """
    shrunk = cv2.resize(mask, (min(width, mask.shape[1]), min(height, mask.shape[0])), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def resize_labels(labels: npt.NDArray[np.uint16], width: int, height: int) -> npt.NDArray[np.uint16]:
    """Resize a map of labels, uint16 (H, W) -> uint16 (height, width): each pixel takes the label nearest to it."""
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint16)


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
