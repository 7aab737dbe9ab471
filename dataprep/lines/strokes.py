"""The light post-processing of extracted sketches: strokes that belong together are joined, all get one width.

Thesis 3.2 names the step ("merges over-segmented strokes and equalizes line widths") and gives no method. Ours: strokes
are thinned to their centre lines; ends that face each other across a small gap are joined; the centre lines are drawn
again, as dark as they were, at one width, by default the sketch's own mean. What is much wider than its lines (a pupil,
black hair) is no stroke and stays. All lengths are in line widths, so a sketch of any resolution is treated alike.
"""

from dataclasses import dataclass
from math import ceil, cos, radians

import cv2
import numpy as np
import numpy.typing as npt

VERSION = 2  # raise when the same settings give another result

Gray = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.uint8]  # 0 or 1
Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.int64]  # (n, 2), row and column

SQUARE = np.ones((3, 3), np.uint8)
FAR = np.float32(1e6)  # pixels
WINDOW = (5, 5)  # pixels over which a stroke's width is averaged
SHORTEST = 2  # pixels of a centre line that has a direction
# The eight neighbours clockwise from the upper one: neighbour k has bit k in `_codes`.
AROUND = np.array([(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)])


@dataclass(frozen=True)
class StrokeSettings:
    """`styles`: the sketches that are treated, none by default; the thesis treats what its three extractors give.

    threshold: gray below it is ink. gap: the longest gap that is closed, in line widths; 0 closes none. angle: by how
    many degrees at most an end may point past the other. width: of all lines, in pixels; 0 is the sketch's own mean.
    widest: what is wider than so many line widths is an area and stays as it is.
    """

    styles: tuple[str, ...] = ()
    threshold: int = 200
    gap: float = 4.0
    angle: float = 30.0
    width: float = 0.0
    widest: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 255:
            raise ValueError(f"threshold is a gray level from 1 to 255, got {self.threshold}")
        if self.gap < 0 or not 0 <= self.angle < 90:
            raise ValueError(f"gap must be at least 0 and angle in [0, 90), got {self.gap} and {self.angle}")
        if self.width and self.width < 1:
            raise ValueError(f"width is 0 or at least 1 pixel, got {self.width}")
        if self.widest < 1:
            raise ValueError(f"widest must be at least 1 line width, got {self.widest}")


def even_strokes(sketch: Gray, settings: StrokeSettings) -> Gray:
    """Black lines on white, uint8 (H, W) of any size -> the same strokes joined and at one width, uint8 (H, W)."""
    ink = np.asarray(255 - sketch, np.uint8)
    lines = _lines(ink, 255 - settings.threshold)
    if not lines.any():
        return np.full_like(sketch, 255)
    areas, deepest = _areas(lines, settings.widest)
    # The centre lines as tones: the darkest ink nearby, 0 elsewhere.
    tones = np.asarray(cv2.dilate(ink, SQUARE), np.uint8) * thinned(lines, ceil(deepest) + 1)
    strokes = cv2.dilate(lines & ~areas, SQUARE)  # with their soft edges
    width = _usual_width(ink * np.asarray(strokes, np.uint8), tones * (1 - areas))
    if settings.gap:
        _join(tones, width, settings)
    drawn = _drawn(tones * (1 - areas), settings.width or width)
    return np.asarray(255 - np.maximum(drawn, ink * areas), np.uint8)


# ---- centre lines -------------------------------------------------------------------------------------------------


def _codes(flags: Flags) -> Flags:
    """For each pixel which of its eight neighbours are set, a bit each; none beyond the border."""
    return np.asarray(cv2.filter2D(flags, cv2.CV_8U, _BITS, borderType=cv2.BORDER_CONSTANT), np.uint8)


def _bits() -> Floats:
    kernel = np.zeros((3, 3), np.float32)
    kernel[tuple((AROUND + 1).T)] = 2.0 ** np.arange(8)
    return kernel


def _kept() -> Flags:
    """(4, 256): 0 for codes of pixels that go, by the side (up, down, left, right) on which they border on paper.

    A pixel goes if it is simple, so that nothing falls apart or closes (Yokoi's connectivity number for 8-connected
    lines is 1), and is no end (Rosenfeld 1975).
    """
    x = np.arange(256)[:, None] >> np.arange(8) & 1
    number = sum((1 - x[:, k]) * (1 - (1 - x[:, k + 1]) * (1 - x[:, (k + 2) % 8])) for k in (0, 2, 4, 6))
    simple = (number == 1) & (x.sum(1) >= 2)
    return 1 - np.stack([simple & (x[:, side] == 0) for side in (0, 4, 6, 2)]).astype(np.uint8)


_BITS, _KEPT = _bits(), _kept()
_ONLY = np.full(256, -1)  # code with one bit -> the neighbour, else -1
_ONLY[1 << np.arange(8)] = np.arange(8)


def thinned(lines: Flags, rounds: int) -> Flags:
    """The centre lines of `lines` (H, W) 0 or 1, one pixel wide where a stroke is at most 2 `rounds` wide."""
    thin = lines.copy()
    for _ in range(rounds):
        before = np.count_nonzero(thin)
        for table in _KEPT:
            thin &= np.asarray(cv2.LUT(_codes(thin), table), np.uint8)
        if np.count_nonzero(thin) == before:
            break
    return thin


def _lines(ink: Gray, least: int) -> Flags:
    """Where there is more than `least` ink and at least half of the darkest nearby: a soft line at half its height.

    Nearby is what about a line width leads to through ink alone: dark strokes take nothing from faint ones beside them.
    """
    lines = np.asarray(ink > least, np.uint8)
    peak = ink * lines
    for _ in range(ceil(2 * _usual_depth(_depth(lines)))):
        peak = np.asarray(cv2.dilate(peak, SQUARE), np.uint8) * lines
    return lines & (ink >= peak // 2).astype(np.uint8)


def _depth(lines: Flags) -> Floats:
    """How far each pixel lies inside its line, in pixels: 1 at its border, FAR where all is line."""
    depth = cv2.distanceTransform(lines, cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(np.minimum(depth, FAR), np.float32)


def _usual_depth(depth: Floats) -> float:
    """About half of the usual line width: the median depth along the ridges, at most 1 / 64 of the long side."""
    ridges = depth[(depth > 0) & (depth >= cv2.dilate(depth, SQUARE))]
    return min(float(np.median(ridges)), max(2.0, max(depth.shape) / 64)) if ridges.size else 1.0


def _areas(lines: Flags, widest: float) -> tuple[Flags, float]:
    """What is wider than `widest` of the usual lines, and the depth in pixels of the deepest of the others."""
    depth = _depth(lines)
    least = max(2.0, widest * _usual_depth(depth))
    core = depth > least
    areas = np.zeros_like(lines)
    if core.any():
        areas = lines & (_depth((~core).astype(np.uint8)) <= least + 1).astype(np.uint8)
    return areas, float(depth[areas == 0].max(initial=0.0))


def _usual_width(ink: Gray, tones: Gray) -> float:
    """The median width in pixels at which strokes of these centre lines hold this ink; at least 1."""
    thin = tones > 0
    count = np.count_nonzero(thin)
    if not count:
        return 1.0
    held = _held(ink, thin)
    nearby_ink, nearby_tones = (cv2.boxFilter(plane, cv2.CV_32F, WINDOW, normalize=False) for plane in (held, tones))
    straight = np.count_nonzero(thin[:, 1:] & thin[:, :-1]) + np.count_nonzero(thin[1:] & thin[:-1])
    slanted = np.count_nonzero(thin[1:, 1:] & thin[:-1, :-1]) + np.count_nonzero(thin[1:, :-1] & thin[:-1, 1:])
    length = max(count, straight + 2**0.5 * slanted)
    return max(1.0, float(np.median(nearby_ink[thin] / nearby_tones[thin])) * count / length)


def _held(ink: Gray, thin: npt.NDArray[np.bool_]) -> Floats:
    """The ink of all pixels, each at its nearest centre line: no window then cuts the line beside one in two."""
    paper = (~thin).view(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(paper, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    inked = ink > 0
    held = np.zeros(ink.shape, np.float32)
    held[thin] = np.bincount(nearest[inked], ink[inked], minlength=int(nearest.max()) + 1)[nearest[thin]]
    return held


# ---- joining ------------------------------------------------------------------------------------------------------


def _join(tones: Gray, width: float, settings: StrokeSettings) -> None:
    """Draw the missing pieces between ends that face each other, in place."""
    ends, outward = _ends((tones > 0).astype(np.uint8), ceil(3 * width))
    for one, other in _facing(ends, outward, settings.gap * width + 1, cos(radians(settings.angle))):
        tone = (int(tones[*ends[one]]) + int(tones[*ends[other]])) // 2
        cv2.line(tones, ends[one][::-1].tolist(), ends[other][::-1].tolist(), tone)


def _ends(thin: Flags, reach: int) -> tuple[Points, npt.NDArray[np.float64]]:
    """The ends of centre lines (n, 2), and where each points, (n, 2) of length 1: away from `reach` pixels before."""
    codes = np.pad(_codes(thin) * thin, 1)  # one is always inside
    at = np.argwhere(_ONLY[codes] >= 0)
    ends, codes_at = at.copy(), codes[tuple(at.T)]
    steps, back = np.zeros(len(at), int), np.zeros(len(at), np.uint8)
    for _ in range(reach):
        way = _ONLY[codes_at & ~back]  # of an end or a pixel amid a line there is one way on, at a fork none
        moves = way >= 0
        at[moves] += AROUND[way[moves]]
        steps += moves
        back[moves] = 1 << (way[moves] + 4) % 8
        codes_at = np.where(moves, codes[tuple(at.T)], 0).astype(np.uint8)
    long_enough = steps >= SHORTEST
    outward = (ends - at)[long_enough].astype(np.float64)
    return ends[long_enough] - 1, outward / np.linalg.norm(outward, axis=1, keepdims=True)


def _facing(ends: Points, outward: npt.NDArray[np.float64], gap: float, least: float) -> npt.NDArray[np.int64]:
    """(n, 2): pairs of ends within `gap` pixels that point at each other, each the other's best.

    `least` is the cosine of the largest angle; of several ends that which is near and straight ahead is the best.
    """
    from scipy.spatial import cKDTree  # half a second

    pairs = cKDTree(ends).query_pairs(gap, output_type="ndarray") if len(ends) > 1 else np.zeros((0, 2), np.int64)
    across = (ends[pairs[:, 1]] - ends[pairs[:, 0]]).astype(np.float64)
    length = np.linalg.norm(across, axis=1)
    ahead = np.einsum("ij,ij->i", outward[pairs[:, 0]], across) / length
    behind = -np.einsum("ij,ij->i", outward[pairs[:, 1]], across) / length
    faces = np.minimum(ahead, behind) >= least
    pairs, cost = pairs[faces], length[faces] / (ahead * behind)[faces]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0], np.tile(cost, 2)))]
    best = np.full(len(ends), -1)
    first, where = np.unique(both[:, 0], return_index=True)
    best[first] = both[where, 1]
    mutual = first[best[best[first]] == first]
    return np.stack([mutual, best[mutual]], axis=1)[mutual < best[mutual]]


def _drawn(tones: Gray, width: float) -> Gray:
    """The ink of centre lines drawn at this width with soft edges; where lines meet the darkest tone counts."""
    away = cv2.distanceTransform((tones == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    size = 2 * ceil((width + 1) / 2) - 1
    spread = np.asarray(cv2.dilate(tones, np.ones((size, size), np.uint8)), np.uint8)
    near = spread > 0
    spread[near] = np.rint(spread[near] * np.clip((width + 1) / 2 - away[near], 0, 1))
    return spread
