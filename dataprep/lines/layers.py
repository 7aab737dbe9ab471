"""A coloured result as an artist works on: colour, lines and mask as layers of the artist's own size.

The model colours at its own size; here its colour is brought to the size of the line art, up to the lines or smoothly
across them, and the artist's lines, which no network has touched, are laid over it.
"""

from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.lines.enlarge_color import INK, enlarge_color
from dataprep.lines.line_art import LineArt
from dataprep.pictures.resize import resize_color

Bytes = npt.NDArray[np.uint8]
Enlargement = Literal["lines", "smooth"]
LineColor = Literal["own", "black", "white"]
_LEVELS = {"black": 0, "white": 255}
GAP = 1 / 64  # of the long side: the longest gap in an outline that is closed


def at_size(color: Bytes, line_art: LineArt, enlargement: Enlargement) -> Bytes:
    """uint8 (h, w, 3) of any size -> uint8 (H, W, 3), the size of the line art: "lines": colour ends at the lines
    (`enlarge_color`), "smooth": bicubic where it grows. Both average where it shrinks.
    """
    height, width = line_art.gray.shape
    return resize_color(color, width, height) if enlargement == "smooth" else enlarge_color(color, line_art.gray)


def keep_lines(color: Bytes, line_art: LineArt) -> Bytes:
    """uint8 (H, W, 3) of the line art's size beneath the artist's lines -> uint8 (H, W, 3).

    Where a line is opaque, the result has the artist's own RGB.
    """
    beneath = color.astype(np.uint16)
    alpha = line_art.lines[..., 3:].astype(np.uint16)
    return ((line_art.lines[..., :3] * alpha + beneath * (255 - alpha) + 127) // 255).astype(np.uint8)


def with_line_color(line_art: LineArt, color: LineColor) -> LineArt:
    """The line art with its lines in this colour, as opaque as they were: light lines show on light colours in black.

    What is laid over alone changes; `LineArt.gray`, which a network sees, does not.
    """
    if color == "own":
        return line_art
    lines = line_art.lines.copy()
    lines[..., :3] = _LEVELS[color]
    return replace(line_art, lines=lines)


def layers(color: Bytes, line_art: LineArt) -> dict[str, Bytes]:
    """`color` uint8 (H, W, 3), of the line art's size, as it is; `lines` uint8 (H, W, 4) with straight alpha; `mask`
    uint8 (H, W) of the drawing (`line_art_mask`).
    """
    return {"color": color, "lines": line_art.lines, "mask": line_art_mask(line_art.gray)}


def line_art_mask(gray: Bytes, gap: float = GAP) -> Bytes:
    """The drawing's mask from its line art alone, uint8 (H, W): 0 for the paper around the drawing, 255 for the rest.

    gray: black lines on white. gap: share of the long side that an outline may be open by without letting paper in.
    Paper around the drawing touches two sides of the page: a figure that one side cuts off is not taken for it.
    """
    free = (gray >= INK).astype(np.uint8)
    radius = gap * max(gray.shape) / 2
    _, rooms = cv2.connectedComponents((_away(free) > radius).astype(np.uint8), connectivity=4)  # a ball fits there
    sides = np.concatenate([np.unique(side) for side in (rooms[0], rooms[-1], rooms[:, 0], rooms[:, -1])])
    around = np.isin(rooms, np.flatnonzero(np.bincount(sides[sides > 0]) >= 2))
    reached = (_away(~around) <= radius) & (free > 0) if around.any() else around
    return np.where(reached, 0, 255).astype(np.uint8)


def _away(flags: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """How many pixels each is away from the nearest that is not set; beyond the page's edge nothing is unset."""
    return np.asarray(cv2.distanceTransform(flags.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)
