"""An artist's line art as a model wants it: black lines on white, from whatever file the artist made.

Paper is found first, then ink as the distance from it: so tinted and unevenly lit paper, pencil and coloured lines,
light lines on dark and lines that only the alpha channel holds all read alike. Clean black on white passes untouched.
Nothing here is learned. What it gets wrong, with numbers: docs/line-art.md.

Shapes: H, W the artist's own size. Light lines on dark are read in the negative, where paper is light again.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.lines.ink_polarity import LEAST_CONTRAST, Polarity, find_polarity, has_paper, tones_of
from dataprep.lines.sketch_check import is_coloured
from dataprep.pictures.decode import MAX_PIXELS
from dataprep.pictures.guarded import decode_rgba

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

FULL_INK = 0.85  # lines at least this far from the paper (1 = all the way) count as black already
MOST_GAIN = 6.0  # by how much faint lines are darkened at most
BLOCKS = 24  # along each side, in which the light on the paper is measured
WHITE = np.full((1, 1, 3), 255, np.uint8)
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
    own colours untouched where alpha is 255. polarity: what was found or set. coloured: whether the page is rather a
    picture in colours (`dataprep.lines.sketch_check`).
    """

    gray: Bytes
    lines: Bytes
    polarity: Polarity
    coloured: bool = False


def read_line_art(data: bytes, settings: LineArtSettings | None = None, max_pixels: int = MAX_PIXELS) -> LineArt:
    """The line art in an encoded picture (PNG, JPEG, WebP, BMP, GIF, SVG); raises UnreadablePicture."""
    return line_art_of(decode_rgba(data, max_pixels), settings or LineArtSettings())


def line_art_of(rgba: Bytes, settings: LineArtSettings) -> LineArt:
    """The line art of uint8 (H, W, 4) with straight alpha."""
    tones = tones_of(rgba)
    polarity = find_polarity(tones) if settings.polarity == "auto" else settings.polarity
    on_paper = has_paper(tones, polarity)
    seen = rgba if polarity == "dark" else _negative(rgba)
    paper = _paper(seen) if settings.levels and on_paper else WHITE
    page = _laid_over(seen, paper)
    paper = np.ascontiguousarray(np.broadcast_to(paper, page.shape))
    ink = _levelled(page, paper) if settings.levels else _luma_ink(page)
    lines = _lifted(page, paper, ink) if on_paper else seen
    own = lines if polarity == "dark" else _negative(lines)
    return LineArt(np.asarray(255 - ink, np.uint8), own, polarity, is_coloured(rgba))


def _negative(rgba: Bytes) -> Bytes:
    return rgba ^ np.array([255, 255, 255, 0], np.uint8)


# ---- paper --------------------------------------------------------------------------------------------------------


def _paper(seen: Bytes) -> Bytes:
    """The colour of the paper under dark lines: uint8 (1, 1, 3), or (H, W, 3) where a page is unevenly lit."""
    opaque = seen[..., 3] >= 250
    if not opaque.all():  # nobody photographs transparent paper
        return _usual(seen[opaque][:, :3]) if opaque.any() else WHITE
    blocks, at = _blocks(seen)
    terms, bright = _terms(at), blocks.mean(1) >= 0.6 * np.percentile(blocks.mean(1), 95)
    for _ in range(4):  # without the blocks that lie in solid ink
        fit = np.linalg.lstsq(terms[bright], blocks[bright], rcond=None)[0]
        off = np.abs(blocks - terms @ fit).max(1)
        bright = off <= max(4.0, 2.5 * float(np.median(off[bright])))
    if np.ptp(terms[bright] @ fit, axis=0).max() < UNEVEN:
        return _usual(seen[..., :3].reshape(-1, 3))
    return _field(fit, seen.shape[:2])


def _usual(colors: Bytes) -> Bytes:
    """(1, 1, 3): each channel's most frequent level in (n, 3) pixels, those aside that are far darker than the rest."""
    sample = np.ascontiguousarray(colors[:: max(1, len(colors) >> 20), None])
    level = _strongest(sample)
    brightest = np.searchsorted(np.cumsum(_counts(level)), 0.995 * level.size)
    light = (level >= 0.4 * float(brightest)).astype(np.uint8)
    return np.array([[[_counts(channel, light).argmax() for channel in cv2.split(sample)]]], np.uint8)


def _counts(levels: npt.NDArray[Any], where: Bytes | None = None) -> npt.NDArray[np.float32]:
    """How often each of the 256 levels occurs in uint8 (n, 1)."""
    return np.asarray(cv2.calcHist([levels], [0], where, [256], [0, 256]), np.float32).ravel()


def _blocks(seen: Bytes) -> tuple[Floats, Floats]:
    """(n, 3) the light end of the colours in each block of the page, (n, 2) where it lies, -1 to 1."""
    rows, columns = (np.linspace(0, side, min(BLOCKS, side) + 1).astype(int) for side in seen.shape[:2])
    samples, at = [], []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            pixels = seen[top:bottom, left:right, :3].reshape(-1, 3)
            samples.append(pixels[:: max(1, len(pixels) // 2048)])
            at.append(((top + bottom) / seen.shape[0] - 1, (left + right) / seen.shape[1] - 1))
    # Blocks of as many pixels at once: a call for each takes longer than its numbers.
    counts, found = np.array([len(sample) for sample in samples]), np.empty((len(samples), 3))
    for count in np.unique(counts):
        alike = np.flatnonzero(counts == count)
        found[alike] = np.percentile(np.stack([samples[block].T for block in alike]), 80, axis=-1)
    return found, np.array(at)


def _terms(at: Floats) -> Floats:
    """(n, 6): the quadratic surface's terms at (n, 2)."""
    y, x = at.T
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _field(fit: Floats, size: tuple[int, ...]) -> Bytes:
    """uint8 (H, W, 3): the fitted paper."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, 64),) * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    small = (_terms(grid) @ fit).reshape(64, 64, 3).astype(np.float32)
    return np.clip(np.rint(cv2.resize(small, size[::-1])), 0, 255).astype(np.uint8)


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
    away, lighter = (_strongest(cv2.subtract(*pair)) for pair in ((paper, page), (page, paper)))
    level = _strongest(paper)
    if (dimmed := level < level.max()).any():  # dim light takes from the ink as much as from the paper
        brighter = float(level.max()) / np.maximum(level[dimmed], 1)
        away[dimmed] = np.minimum(np.rint(away[dimmed] * brighter), 255)
    floor = _grain(lighter, below=64)  # on the paper's lighter side there is no ink
    inked = away[away > max(floor, LEAST_CONTRAST)]
    if inked.size <= away.size * 1e-5:
        return np.zeros_like(away)
    full = float(np.percentile(inked, 95))
    if full >= FULL_INK * 255 and not floor:
        return away
    floor = max(floor, _grain(away, below=LEAST_CONTRAST))  # white paper has no lighter side
    full = max(full, 255 / MOST_GAIN, floor + 1)
    table = np.clip((np.arange(256) - floor) * (255 / (full - floor)), 0, 255)
    return np.asarray(cv2.LUT(away, np.rint(table).astype(np.uint8)), np.uint8)


def _strongest(pixels: npt.NDArray[Any]) -> Bytes:
    """(H, W, 3) -> (H, W): the largest of the channels; several times as fast as numpy's maximum over an axis."""
    red, green, blue = cv2.split(pixels)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


def _grain(levels: Bytes, below: int) -> float:
    """Three standard deviations of the paper's grain, from its distances to the paper; 0 where a page is clean."""
    grain = levels[(levels > 0) & (levels < below)]
    return min(48.0, 3 * 1.4826 * float(np.median(grain))) if grain.size >= levels.size / 10 else 0.0


def _luma_ink(page: Bytes) -> Bytes:
    return np.asarray(255 - np.asarray(cv2.cvtColor(page, cv2.COLOR_RGB2GRAY)), np.uint8)


# ---- lines --------------------------------------------------------------------------------------------------------


def _lifted(page: Bytes, paper: Bytes, ink: Bytes) -> Bytes:
    """Lines lifted off their paper, uint8 (H, W, 4): laid over that paper again they give the page back.

    page = a line + (1 - a) paper, solved for the line: soft edges keep no rim of paper.
    """
    lines = np.zeros((*ink.shape, 4), np.uint8)
    lines[..., 3] = ink
    inked = ink > 0
    share = ink[inked][:, None].astype(np.float32) / 255
    lines[inked, :3] = np.clip(np.rint((page[inked] - (1 - share) * paper[inked]) / share), 0, 255)
    if inked.any():  # what is invisible has the lines' colour, so that resizing grows no rim
        lines[~inked, :3] = np.median(lines[ink >= ink.max() // 2][:, :3], axis=0)
    return lines
