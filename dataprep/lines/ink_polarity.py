"""Whether a drawing is dark lines on light or light lines on dark: paper is wide, lines are thin.

Both rules lean to dark lines, the usual case: a black-on-white drawing with half of its page solid black must not be
turned around. Error rates: docs/line-art.md. Judged at a long side of WORKING_SIDE pixels; H, W are its sides.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Polarity = Literal["dark", "light"]
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

WORKING_SIDE = 512  # px
LEAST_CONTRAST = 16  # levels between paper and ink: less is noise on an empty page
WIDER = 2**0.5  # light lines: dark is on average this much wider than light,
WIDE_LIGHT = 0.05  # and light is wide in at most this share of the page
WIDE = 1 / 32  # of the long side: wider than any line
SURROUNDED = 0.75  # of the rim of light lines is dark, where a picture has transparent parts
OUTLINING = 0.25  # of the rim of dark lines is light there: an outline has paper on its inner side alone
LIGHT_INK = 170  # lines with nothing beneath are light if less than a fifth of them is darker


@dataclass(frozen=True, eq=False)
class Tones:
    """Which pixels (H, W) are visible, their luma, and which of them are dark and light: none if all have one tone."""

    visible: Flags
    luma: Bytes
    dark: Flags
    light: Flags


def tones_of(rgba: Bytes) -> Tones:
    """uint8 (H, W, 4) of any size with straight alpha, shrunk and split by Otsu's threshold."""
    small = shrunk(rgba)
    visible = small[..., 3] >= 128
    luma = np.asarray(cv2.cvtColor(small[..., :3], cv2.COLOR_RGB2GRAY), np.uint8)
    seen = luma[visible]
    if not seen.size or np.ptp(np.percentile(seen, (0.1, 99.9))) < LEAST_CONTRAST:
        return Tones(visible, luma, np.zeros_like(visible), np.zeros_like(visible))
    split, _ = cv2.threshold(seen, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return Tones(visible, luma, visible & (luma <= split), visible & (luma > split))


def find_polarity(tones: Tones) -> Polarity:
    """Of the lines against their paper; where there is nothing beneath them, by their own tone."""
    if _light_on_dark(tones):
        return "light"
    if has_paper(tones, "dark"):
        empty = not tones.dark.any()
        return "light" if empty and np.median(tones.luma) < 128 else "dark"
    seen = tones.luma[tones.visible]
    return "light" if seen.size and np.mean(seen < LIGHT_INK) < 0.2 else "dark"


def has_paper(tones: Tones, polarity: Polarity) -> bool:
    """Whether lines of this polarity lie on something; else they are all that is visible."""
    return bool(tones.visible.all()) or (_dark_on_light(tones) if polarity == "dark" else _light_on_dark(tones))


def _light_on_dark(tones: Tones) -> bool:
    if not _lies_on(tones.light, tones.dark, tones.visible, SURROUNDED):
        return False
    of_dark, of_light = _depth(tones.dark), _depth(tones.light)
    wide = np.mean(2 * of_light > WIDE * max(of_light.shape))
    return bool(of_dark[tones.dark].mean() > WIDER * of_light[tones.light].mean() and wide < WIDE_LIGHT)


def _dark_on_light(tones: Tones) -> bool:
    wide = 2 * _depth(tones.light).max() > WIDE * max(tones.light.shape)
    return bool(wide) and _lies_on(tones.dark, tones.light, tones.visible, OUTLINING)


def _lies_on(lines: Flags, paper: Flags, visible: Flags, least: float) -> bool:
    """Whether at least this share of the lines' rim is paper. Where all is visible nothing else can be."""
    if not (lines.any() and paper.any()):
        return False
    rim = (cv2.dilate(lines.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~lines
    return bool(visible.all() or paper[rim].mean() >= least)


def _depth(flags: Flags) -> npt.NDArray[np.float32]:
    """How far inside `flags` each pixel lies, in pixels; beyond the page's edge they go on."""
    padded = np.pad(flags.astype(np.uint8), 1, mode="edge")
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    return np.asarray(np.minimum(depth, max(flags.shape)), np.float32)


def shrunk(rgba: Bytes) -> Bytes:
    """With a long side of at most WORKING_SIDE; colours weigh as much as they are visible."""
    scale = WORKING_SIDE / max(rgba.shape[:2])
    if scale >= 1:
        return rgba
    size = [max(1, round(side * scale)) for side in rgba.shape[1::-1]]
    shrunk = np.asarray(cv2.resize(rgba, size, interpolation=cv2.INTER_AREA), np.uint8)
    if (rgba[..., 3] < 255).any():
        weight = rgba[..., 3:].astype(np.float32)
        colors = cv2.resize(rgba[..., :3] * weight, size, interpolation=cv2.INTER_AREA)
        total = np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA))[..., None]
        shrunk[..., :3] = np.rint(colors / np.maximum(total, 1e-3))
    return shrunk
