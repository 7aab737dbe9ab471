"""Region maps of line art by trapped-ball filling, gaps closed and small regions merged (LineFiller; used by RASC).

A ball that rolls inside the white of a drawing cannot leave through a gap narrower than itself, so the places it can
reach are a region even where the line is broken. The published steps fill one region at a time over the whole picture.
Here all regions of one radius that cannot hinder each other are filled at once, in waves, and merging works on the
graph of touching regions: the same labels, pixel for pixel, in a small part of the time (see `_fill_balls`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from math import ceil
from typing import Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.faults import Fault

Labels = npt.NDArray[np.int32]
Flags = npt.NDArray[np.uint8]  # 0 or 1
Ordered = npt.NDArray[Any]  # labels as uint16 or float32
Variant = Literal["original", "fork", "patches"]
MOST = 0xFFFF  # regions that a map of 16 bits can name
SMALL = 500  # pixels; a region of at least so many stays what it is
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
KEEP: dict[str, Callable[..., Any]] = {"max": np.max, "mean": np.mean, "median": np.median}
# Ball radius, and which of its fills are kept: LineFiller as first published, and as its fork of 2024 has it.
SCHEDULES: dict[str, tuple[tuple[int, str], ...]] = {
    "original": ((3, "max"), (2, "all"), (1, "all")),
    "fork": ((3, "max"), (2, "mean"), (1, "mean")),
}


@dataclass(frozen=True)
class RegionSettings:
    """`variant`: a published schedule of the trapped ball, or "patches", squares of `patch` pixels (RASC IV.F).

    `schedule`: one of your own in place of the published, (ball radius, fills that are kept).
    """

    lines: tuple[str, ...] = ("drawn", "xdog")  # styles; regions are those of the first that a row has; (): no map
    threshold: int = 220  # grey above it is paper, the rest is line
    variant: Variant = "original"
    schedule: tuple[tuple[int, str], ...] = ()
    max_fills: int = 1000  # of each radius
    max_rest: int = 20_000  # regions no ball fits in
    merge_sweeps: int = 10
    thin: bool = False  # let regions grow over the lines until none is left
    thin_sweeps: int = 100
    patch: int = 20  # RASC compares 256, 32, 20, 16 and 8; 20 makes about as many as there are regions

    def __post_init__(self) -> None:
        if self.variant not in get_args(Variant):
            raise ValueError(f"variant is one of {', '.join(get_args(Variant))}, not {self.variant!r}")
        wrong = [f"({radius}, {keep!r})" for radius, keep in self.schedule if radius < 1 or keep not in (*KEEP, "all")]
        if wrong:
            raise ValueError(f"schedule takes a radius of at least 1 and max, mean, median or all, not {wrong[0]}")
        if self.patch < 1:
            raise ValueError(f"patch is a side in pixels, at least 1, got {self.patch}")
        if not 0 < self.max_rest <= 60_000 - self.max_fills * len(self.steps()):
            raise ValueError("max_rest and the fills of all radii together must stay below 60000 (16-bit labels)")

    def steps(self) -> tuple[tuple[int, str], ...]:
        """The schedule that is followed."""
        return self.schedule or SCHEDULES.get(self.variant, ())

    def described(self) -> dict[str, Any]:
        """What of the settings decides the map."""
        if self.variant == "patches":
            return {"patch": self.patch}
        return {name: getattr(self, name) for name in _DECIDING} | {"schedule": self.steps()}


_DECIDING = ("lines", "threshold", "max_fills", "max_rest", "merge_sweeps", "thin", "thin_sweeps")


def region_map(line_art: npt.NDArray[np.uint8], settings: RegionSettings) -> npt.NDArray[np.integer]:
    """The region of every pixel of line art (H, W) in the recipe's way: 1..n without holes, 0 = line."""
    return (
        patches(line_art.shape, settings.patch) if settings.variant == "patches" else trapped_ball(line_art, settings)
    )


def patches(size: tuple[int, ...], side: int) -> Labels:
    """The number of the square of every pixel of a picture of this (height, width), 1..n row by row.

    Raises Fault where there are more than MOST.
    """
    if (many := _squares(size, side)) > MOST:
        least = next(larger for larger in count(side + 1) if _squares(size, larger) <= MOST)
        raise Fault(
            "bad-output",
            f"a picture of {size[1]}x{size[0]} has {many} patches of {side} pixels, a map names at most {MOST}: "
            f"set regions.patch to at least {least}, or canvas.size to something smaller",
        )
    rows, columns = (np.arange(length) // side for length in size)
    return (1 + rows[:, None] * (columns[-1] + 1) + columns).astype(np.int32)


def _squares(size: tuple[int, ...], side: int) -> int:
    return ceil(size[0] / side) * ceil(size[1] / side)


def count_regions(labels: npt.NDArray[np.integer], side: int = 256) -> int:
    """How many regions of a map (H, W) are left when its long side is at most `side`, as RASC counts them."""
    step = max(1.0, max(labels.shape) / side)
    rows, columns = (np.arange(max(1, round(length / step))) for length in labels.shape)
    seen = labels[np.ix_(*((places * step).astype(int) for places in (rows, columns)))]
    return int(np.count_nonzero(np.unique(seen)))


def trapped_ball(line_art: npt.NDArray[np.uint8], settings: RegionSettings) -> npt.NDArray[np.uint16]:
    """Region of every pixel: uint8 (H, W), black lines on white -> uint16 (H, W), 1..n without holes, 0 = line.

    Ids rise in the order in which the published steps fill: what the large ball fills, then the smaller ones, then what
    no ball fits in; within a radius by the first pixel, row by row, where the ball's centre fits.
    """
    free = (line_art > settings.threshold).astype(np.uint8)
    labels = np.zeros(free.shape, np.int32)
    for radius, keep in settings.steps():
        fills = _kept(_fill_balls(free, radius, settings.max_fills), keep)
        _add(labels, free, fills)
    _add(labels, free, _rest(free, settings.max_rest))
    labels = _merge(labels, settings.merge_sweeps)
    if settings.thin:
        labels = _thin(labels, settings.thin_sweeps)
    return _compact(labels).astype(np.uint16)


# ---- filling ------------------------------------------------------------------------------------------------------


def ball(radius: int) -> Flags:
    """The elliptical kernel of size 2 radius + 1."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), dtype=np.uint8)


def _fill_balls(free: Flags, radius: int, max_fills: int) -> Labels:
    """The fills of one radius, labelled 1..n in the published order (by the first pixel where the ball's centre fits).

    Published: take the first centre left, fill all that the ball sweeps from there, remove it, erode again. Removing a
    fill takes centres only from components within two ball radii of it, so a component whose first pixel comes before
    those of all components it touches in this sense is filled the same now or in its turn: all such fill at once.
    """
    kernel = ball(radius)
    centres: Flags = cv2.erode(free, kernel).astype(np.uint8)
    seed_of = np.zeros(free.shape, np.int32)  # 1 + index of the first centre of the fill over this pixel
    while centres.any():
        # Only around what is left: a ball reaches 2 radius pixels beyond its centres, to the centres that it takes.
        left, top, width, height = cv2.boundingRect(centres)
        reach = np.s_[
            max(0, top - 2 * radius) : top + height + 2 * radius, max(0, left - 2 * radius) : left + width + 2 * radius
        ]
        part = centres[reach]
        order, seeds = _components(part)
        fill = cv2.dilate(_unhindered(order, seeds.size, kernel), kernel)
        filled = fill > 0
        rows, columns = np.divmod(seeds, part.shape[1])
        names = 1 + (rows + reach[0].start) * free.shape[1] + columns + reach[1].start
        seed_of[reach][filled] = names[fill[filled].astype(np.int32)]
        part[cv2.dilate(filled.view(np.uint8), kernel) > 0] = 0
    labels = _compact(seed_of)
    return np.where(labels <= max_fills, labels, 0)


def _components(flags: Flags) -> tuple[Ordered, Labels]:
    """4-connected components 1..n by their first pixel; for each label the index of that pixel (undefined for 0).

    Labels are 16 bits where they fit, else float32, exact to 2^24: OpenCV has no 32-bit integer morphology.
    """
    count, labels = cv2.connectedComponents(flags, connectivity=4, ltype=cv2.CV_32S)
    begins = flags.copy()  # first pixels of a run along a row
    begins[:, 1:] &= 1 - flags[:, :-1]
    found = np.flatnonzero(begins)[::-1]
    seeds = np.full(count, -1, np.int32)
    seeds[labels.ravel()[found]] = found  # the last to write is the first pixel
    dtype = np.uint16 if count < 1 << 16 else np.float32
    if (np.diff(seeds) > 0).all():  # as OpenCV numbers them, but does not promise
        return labels.astype(dtype), seeds
    order = np.argsort(seeds)
    rank = np.empty(count, dtype)
    rank[order] = np.arange(count)
    return rank[labels], seeds[order]


def _unhindered(order: Ordered, count: int, kernel: Flags) -> Ordered:
    """Only the components that come before all components which their ball can meet; labels 0..count-1, 0 = none."""
    lowest = np.where(order > 0, order, order.dtype.type(count))
    lowest = cv2.erode(cv2.erode(lowest, kernel), kernel)
    keeps = np.arange(count, dtype=order.dtype)
    keeps[order[lowest < order].astype(np.int32)] = 0
    return keeps[order.astype(np.int32, copy=False)]


def _compact(labels: Labels) -> Labels:
    """The same regions under the names 1..n, in the same order; 0 stays 0."""
    present = np.zeros(labels.max() + 1, np.int32)
    present[labels.ravel()] = 1
    present[0] = 0
    return np.cumsum(present, dtype=np.int32)[labels]


def _kept(fills: Labels, keep: str) -> Labels:
    """Only the fills at least as large as the largest, mean or median one; "all" keeps every fill."""
    sizes = np.bincount(fills.ravel())[1:]
    if keep == "all" or not sizes.size:
        return fills
    large = np.concatenate([[False], sizes >= KEEP[keep](sizes)])
    return np.where(large[fills], fills, 0)


def _rest(free: Flags, most: int) -> Labels:
    """The 4-connected regions of what no ball filled."""
    labels = _components(free)[0].astype(np.int32)
    return np.where(labels <= most, labels, 0)


def _add(labels: Labels, free: Flags, fills: Labels) -> None:
    """Put fills after the labels there are and take them from the free area, both in place."""
    filled = fills > 0
    labels[filled] = fills[filled] + labels.max()
    free[filled] = 0


# ---- merging ------------------------------------------------------------------------------------------------------


def _merge(labels: Labels, sweeps: int) -> Labels:
    """Give small regions to a neighbour until a sweep no longer changes the number of regions.

    Within a sweep shapes are those at its start, but a region sees the names that earlier ones took: so a sweep only
    renames, and needs just the graph of touching regions. The picture is read for it once, and again for the outlines
    of regions that grew.
    """
    shapes = _Shapes(labels)
    for _ in range(sweeps):
        before = np.count_nonzero(shapes.areas)
        shapes.rename(_renamed(shapes))
        if np.count_nonzero(shapes.areas) == before:
            break
    return shapes.names[labels]


def _renamed(shapes: "_Shapes") -> Labels:
    """One sweep: the new name of every label 0..n, decided in rising order of the old ones."""
    areas, touching = shapes.areas.tolist(), shapes.touching()
    names = list(range(len(areas)))
    for region in np.flatnonzero(shapes.is_small()).tolist():
        area, neighbours = areas[region], {names[other] for other in touching.get(region, ())} - {0}
        if not neighbours:
            names[region] = 0 if area < 5 else region
        elif area < 50 or (area < 250 and len(neighbours) == 1) or shapes.corners(region) <= 5:
            names[region] = min(neighbours)
    return np.array(names, np.int32)


class _Shapes:
    """Regions under the names that sweeps gave them: sizes, neighbours, and the outlines of the small ones."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self.areas = np.bincount(labels.ravel())
        self.names = np.arange(self.areas.size, dtype=np.int32)  # of the regions at first
        self._meetings = _meetings(labels)
        self._boxes = _boxes(labels, self.is_small())
        self._corners: dict[int, int] = {}

    def is_small(self) -> npt.NDArray[np.bool_]:
        """Which regions may be given away at all."""
        small = (self.areas > 0) & (self.areas < SMALL)
        small[0] = False
        return small

    def touching(self) -> dict[int, list[int]]:
        """For each region the others that share a pixel edge with it; lines are nobody's neighbour."""
        found: dict[int, list[int]] = {}
        for one, other in self._meetings.tolist():
            found.setdefault(one, []).append(other)
            found.setdefault(other, []).append(one)
        return found

    def corners(self, region: int) -> int:
        """Vertices of the outer contour of a small region, simplified to 2 % of its length."""
        if region not in self._corners:
            top, left, bottom, right = self._boxes[region].tolist()
            inside = self.names[self._labels[top:bottom, left:right]] == region
            contours, _ = cv2.findContours(inside.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            length = cv2.arcLength(contours[0], True)
            self._corners[region] = len(cv2.approxPolyDP(contours[0], 0.02 * length, True))
        return self._corners[region]

    def rename(self, names: Labels) -> None:
        """Join the regions that `names` (new name of each region 0..n) gives one name."""
        count, present = names.size, np.flatnonzero(self.areas)
        same = (np.bincount(names[present], minlength=count) == 1) & (names == np.arange(count))
        self._corners = {region: corners for region, corners in self._corners.items() if same[region]}
        self.areas = np.bincount(names, self.areas, count).astype(np.int64)
        self.names = names[self.names]
        for side, outermost in enumerate((np.minimum, np.minimum, np.maximum, np.maximum)):
            moved = self._boxes[:, side].copy()
            outermost.at(moved, names[present], self._boxes[present, side])
            self._boxes[:, side] = moved
        self._meetings = _distinct(names[self._meetings])


def _meetings(labels: Labels) -> Labels:
    """(n, 2): the pairs of regions that share a pixel edge, each once, the smaller label first."""
    found = []
    for one, other in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        meet = (one != other) & (one > 0) & (other > 0)
        found.append(np.stack([one[meet], other[meet]], axis=1))
    return _distinct(np.concatenate(found))


def _distinct(pairs: Labels) -> Labels:
    """The pairs of two different regions, each once, the smaller label first."""
    low, high = pairs.min(axis=1, initial=0xFFFF), pairs.max(axis=1, initial=0)
    pairs = np.unique((low.astype(np.int64) << 32 | high)[(low != high) & (low > 0)])
    return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], axis=1).astype(np.int32)


def _boxes(labels: Labels, wanted: npt.NDArray[np.bool_]) -> Labels:
    """(n, 4): first row and column of each wanted region, and those behind its last."""
    boxes = np.zeros((wanted.size, 4), np.int32)
    found = np.flatnonzero(wanted[labels])
    owners = labels.ravel()[found].astype(np.uint16)  # 16 bits are sorted fast, and labels stay below 60000
    order = np.argsort(owners, kind="stable")
    owners, (rows, columns) = owners[order], np.divmod(found[order], labels.shape[1])
    starts = np.flatnonzero(np.diff(owners, prepend=np.uint16(0)))  # owners are not 0
    if starts.size:
        edges = [ufunc.reduceat(values, starts) for ufunc in (np.minimum, np.maximum) for values in (rows, columns)]
        boxes[owners[starts]] = np.stack(edges, axis=1) + np.array([0, 0, 1, 1])
    return boxes


# ---- thinning -----------------------------------------------------------------------------------------------------


def _thin(labels: Labels, sweeps: int) -> Labels:
    """Let each line pixel beside a region take the first region in the order left, up-left, up, … clockwise.

    The published index test never looks at row and column 0; here they count like all others.
    """
    for _ in range(sweeps):
        region = (labels > 0).astype(np.uint8)
        border = (cv2.dilate(region, CROSS) - region).astype(bool)
        if not border.any():
            break
        taken = np.zeros_like(labels)
        for neighbour in _neighbours(labels):
            np.copyto(taken, neighbour, where=taken == 0)
        labels = np.where(border, taken, labels)
    return labels


def _neighbours(labels: Labels) -> Iterator[Labels]:
    """The eight neighbours of every pixel, clockwise from the left; 0 beyond the border."""
    height, width = labels.shape
    padded = np.pad(labels, 1)
    for down, right in ((0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1)):
        yield padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
