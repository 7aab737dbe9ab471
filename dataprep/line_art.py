"""An artist's line art as a model wants it: black lines on white, from whatever file the artist made.

Paper is found first, then ink as the distance from it: so tinted and unevenly lit paper, pencil and coloured lines,
light lines on dark and lines that only the alpha channel holds all read alike. Clean black on white passes untouched.
Nothing here is learned. What it gets wrong, with numbers: docs/line-art.md.

Shapes: H, W the artist's own size. Light lines on dark are read in the negative, where paper is light again.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.pictures import MAX_PIXELS, decode_rgba

Polarity = Literal["dark", "light"]
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

WORKING_SIDE = 512  # px: long side at which polarity is judged
LEAST_CONTRAST = 16  # levels between paper and ink: less is noise on an empty page
FULL_INK = 0.85  # ink at least this far from the paper (255 = all the way) counts as black already
MOST_GAIN = 6.0  # by how much faint lines are darkened at most
LIGHT_BIAS = 2.0  # how much wider dark must be than light before a page counts as light lines on dark
BLOCKS = 24  # along each side, in which the light on the paper is measured
UNEVEN = 6  # levels by which the fitted paper must vary before it counts as unevenly lit


@dataclass(frozen=True)
class LineArtSettings:
    """polarity: of the lines against the paper; "auto" finds it. levels: paper becomes white and the lines' ink black;
    off, the picture's own luma is kept (over white, or the negative over black).
    """

    polarity: Literal["auto", "dark", "light"] = "auto"
    levels: bool = True

    def __post_init__(self) -> None:
        if self.polarity not in ("auto", "dark", "light"):
            raise ValueError(f"polarity is auto, dark or light, got {self.polarity!r}")


@dataclass(frozen=True, eq=False)
class LineArt:
    """gray: uint8 (H, W), black lines on white. lines: uint8 (H, W, 4), the artist's lines alone, straight alpha: their
    own colours untouched where alpha is 255. polarity: what was found or set.
    """

    gray: Bytes
    lines: Bytes
    polarity: Polarity


def read_line_art(data: bytes, settings: LineArtSettings | None = None, max_pixels: int = MAX_PIXELS) -> LineArt:
    """The line art in an encoded picture (PNG, JPEG, WebP, BMP, GIF, SVG); raises UnreadablePicture."""
    return line_art_of(decode_rgba(data, max_pixels), settings or LineArtSettings())


def line_art_of(rgba: Bytes, settings: LineArtSettings) -> LineArt:
    """The line art of uint8 (H, W, 4) with straight alpha."""
    polarity = find_polarity(rgba) if settings.polarity == "auto" else settings.polarity
    seen = rgba.copy()
    if polarity == "light":
        seen[..., :3] = 255 - seen[..., :3]
    paper = _paper(seen) if settings.levels else np.full((1, 1, 3), 255, np.uint8)
    page = _laid_over(seen, paper)
    if not settings.levels:
        ink = 255 - np.asarray(cv2.cvtColor(page, cv2.COLOR_RGB2GRAY), np.uint8)
    else:
        ink = _levelled(page, _like(paper, page))
    lines = rgba if _only_lines(rgba, ink) else _lifted(page, _like(paper, page), ink, negative=polarity == "light")
    return LineArt(np.asarray(255 - ink, np.uint8), lines, polarity)


# ---- polarity -----------------------------------------------------------------------------------------------------


def find_polarity(rgba: Bytes) -> Polarity:
    """Whether uint8 (H, W, 4) shows dark lines on light or light lines on dark: paper is wide, lines are thin."""
    small = _shrunk(rgba)
    visible = small[..., 3] >= 128
    if not visible.any():
        return "dark"
    luma = np.asarray(cv2.cvtColor(small[..., :3], cv2.COLOR_RGB2GRAY), np.uint8)
    if not visible.all() and _width(visible) < _wide(small.shape):  # nothing but lines
        return "dark" if np.mean(luma[visible] < 170) >= 0.2 else "light"
    low, high = np.percentile(luma[visible], (0.1, 99.9))
    if high - low < LEAST_CONTRAST:  # nothing but paper
        return "dark" if np.median(luma[visible]) >= 128 else "light"
    split, _ = cv2.threshold(luma[visible], 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    dark = visible & (luma <= split)
    return "light" if _mean_width(dark) > LIGHT_BIAS * _mean_width(visible & ~dark) else "dark"


def _shrunk(rgba: Bytes) -> Bytes:
    """With a long side of at most WORKING_SIDE; colours weigh as much as they are visible."""
    scale = WORKING_SIDE / max(rgba.shape[:2])
    if scale >= 1:
        return rgba
    size = tuple(max(1, round(side * scale)) for side in rgba.shape[1::-1])
    shrunk = np.asarray(cv2.resize(rgba, size, interpolation=cv2.INTER_AREA), np.uint8)
    if (rgba[..., 3] < 255).any():
        weight = rgba[..., 3:].astype(np.float32) / 255
        colors = cv2.resize(rgba[..., :3] * weight, size, interpolation=cv2.INTER_AREA)
        total = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)[..., None]
        shrunk[..., :3] = np.rint(colors / np.maximum(total, 1e-6))
    return shrunk


def _depth(flags: Flags) -> npt.NDArray[np.float32]:
    """How far inside `flags` each pixel lies, in pixels; beyond the page's edge they go on."""
    padded = np.pad(flags.astype(np.uint8), 1, mode="edge")
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    return np.asarray(np.minimum(depth, max(flags.shape)), np.float32)


def _mean_width(flags: Flags) -> float:
    return float(_depth(flags)[flags].mean()) if flags.any() else 0.0


def _width(flags: Flags) -> float:
    return 2 * float(_depth(flags).max(initial=0))


def _wide(shape: tuple[int, ...]) -> float:
    """From how many pixels on something is no line."""
    return max(6.0, max(shape[:2]) / 24)


# ---- paper --------------------------------------------------------------------------------------------------------


def _paper(seen: Bytes) -> Bytes:
    """The colour of the paper under dark lines: uint8 (1, 1, 3), or (H, W, 3) where a page is unevenly lit."""
    opaque = seen[..., 3] >= 250
    if not opaque.all():
        return _paper_around(seen, opaque)
    blocks, at = _blocks(seen)
    bright = blocks.mean(1) >= 0.6 * np.percentile(blocks.mean(1), 95)
    terms = _terms(at)
    for _ in range(4):
        fit = np.linalg.lstsq(terms[bright], blocks[bright], rcond=None)[0]
        off = np.abs(blocks - terms @ fit).max(1)
        bright = off <= max(4.0, 2.5 * float(np.median(off[bright])))
    if np.ptp(terms[bright] @ fit, axis=0).max() < UNEVEN:
        return _usual(seen[..., :3].reshape(-1, 3))
    return _field(fit, seen.shape[:2])


def _usual(colors: Bytes) -> Bytes:
    """(1, 1, 3): each channel's most frequent level among the lighter half of (n, 3) pixels."""
    luma = colors.max(axis=1)
    lighter = colors[luma >= np.percentile(luma, 50)]
    return np.array([[[np.bincount(lighter[:, c], minlength=256).argmax() for c in range(3)]]], np.uint8)


def _paper_around(seen: Bytes, opaque: Flags) -> Bytes:
    """White for lines on nothing; what lies wide and light inside a cut-out is its paper."""
    light = opaque & (seen[..., :3].max(axis=2) >= 128)
    return _usual(seen[light][:, :3]) if _width(light) >= _wide(seen.shape) else np.full((1, 1, 3), 255, np.uint8)


def _blocks(seen: Bytes) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(n, 3) the light end of the colours in each block of the page, (n, 2) where it lies, -1 to 1."""
    rows, columns = (np.linspace(0, side, min(BLOCKS, side) + 1).astype(int) for side in seen.shape[:2])
    found, at = [], []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            pixels = seen[top:bottom, left:right, :3].reshape(-1, 3)
            found.append(np.percentile(pixels[:: max(1, len(pixels) // 2048)], 80, axis=0))
            at.append(((top + bottom) / seen.shape[0] - 1, (left + right) / seen.shape[1] - 1))
    return np.array(found), np.array(at)


def _terms(at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, 6): the quadratic surface's terms at (n, 2)."""
    y, x = at.T
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _field(fit: npt.NDArray[np.float64], size: tuple[int, ...]) -> Bytes:
    """uint8 (H, W, 3): the fitted paper."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, 64),) * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    small = (_terms(grid) @ fit).reshape(64, 64, 3).astype(np.float32)
    return np.clip(np.rint(cv2.resize(small, size[::-1])), 0, 255).astype(np.uint8)


def _like(paper: Bytes, page: Bytes) -> Bytes:
    return np.ascontiguousarray(np.broadcast_to(paper, page.shape))


def _laid_over(seen: Bytes, paper: Bytes) -> Bytes:
    """uint8 (H, W, 3): what is transparent shows the paper."""
    alpha = seen[..., 3:].astype(np.uint16)
    if (alpha == 255).all():
        return np.ascontiguousarray(seen[..., :3])
    return ((seen[..., :3] * alpha + paper * (255 - alpha) + np.uint16(127)) // 255).astype(np.uint8)


# ---- ink ----------------------------------------------------------------------------------------------------------


def _levelled(page: Bytes, paper: Bytes) -> Bytes:
    """Ink uint8 (H, W): how much darker than the paper the channel is that differs most; 255 at the usual ink.

    For neutral paper and ink that is paper minus luma, so black on white is 255 minus gray, to the bit; a blue or
    yellow line is as much ink as a black one.
    """
    away = cv2.subtract(paper, page).max(axis=2)
    floor = _noise(page, paper)
    inked = away[away > max(floor, LEAST_CONTRAST)]
    if inked.size <= away.size * 1e-5:
        return np.zeros_like(away)
    full = float(np.percentile(inked, 95))
    full = 255.0 if full >= FULL_INK * 255 and floor == 0 else max(full, 255 / MOST_GAIN, floor + 1)
    table = np.clip((np.arange(256) - floor) * (255 / (full - floor)), 0, 255)
    return np.asarray(cv2.LUT(away, np.rint(table).astype(np.uint8)), np.uint8)


def _noise(page: Bytes, paper: Bytes) -> float:
    """Levels of away-from-paper that the paper's own grain explains, from its lighter side, where no ink is."""
    lighter = cv2.subtract(page, paper).max(axis=2)
    grain = lighter[(lighter > 0) & (lighter < 64)]
    if grain.size < lighter.size / 10:  # clean
        return 0.0
    return min(48.0, 3 * 1.4826 * float(np.median(grain)))


# ---- lines --------------------------------------------------------------------------------------------------------


def _only_lines(rgba: Bytes, ink: Bytes) -> bool:
    """Whether the picture is lines on nothing: no paper in it that would hide what lies beneath."""
    pale = (rgba[..., 3] >= 128) & (ink < 64)
    return bool((rgba[..., 3] < 128).any()) and _width(pale) < _wide(rgba.shape)


def _lifted(page: Bytes, paper: Bytes, ink: Bytes, negative: bool) -> Bytes:
    """Lines lifted off their paper, uint8 (H, W, 4): laid over that paper again they give the page back.

    page = a line + (1 - a) paper, solved for the line: soft edges keep no rim of paper.
    """
    lines = np.zeros((*ink.shape, 4), np.uint8)
    lines[..., 3] = ink
    inked = ink > 0
    share = ink[inked][:, None].astype(np.float32) / 255
    lines[inked, :3] = np.clip(np.rint((page[inked] - (1 - share) * paper[inked]) / share), 0, 255)
    if negative:
        lines[..., :3] = 255 - lines[..., :3]
    if inked.any():  # what is invisible has the lines' colour, so that resizing grows no rim
        lines[~inked, :3] = np.median(lines[ink >= ink.max() // 2][:, :3], axis=0)
    return lines
