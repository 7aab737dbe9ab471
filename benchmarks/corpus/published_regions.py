"""The published steps of trapped-ball filling (LineFiller), one flood fill at a time, as plainly as they are described.

The measure of `dataprep.lines.region_map`: what it must agree with, and what it must be faster than.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
SCHEDULE = ((3, "max"), (2, "all"), (1, "all"))


def published_regions(line_art: Bytes, schedule: Sequence[tuple[int, str]] = SCHEDULE) -> Labels:
    """uint8 (H, W), black lines on white -> region of every pixel, 0 = line; ids have holes."""
    free: Bytes = np.where(line_art > 220, 255, 0).astype(np.uint8)
    labels, regions = np.zeros(free.shape, np.int32), []
    for radius, keep in schedule:
        fills = _fill(free, radius)
        sizes = [int(fill.sum()) for fill in fills] or [0]
        least = {"max": max(sizes), "mean": sum(sizes) / len(sizes), "all": 0}[keep]
        for fill in [fill for fill in fills if fill.sum() >= least]:
            regions.append(fill)
            free[fill] = 0
    while (seed := _first_pixel(free)) is not None:
        regions.append(_flood(free, seed) > 0)
        free[regions[-1]] = 0
    for number, region in enumerate(regions, 1):
        labels[region] = number
    return _merge(labels)


def adjusted_rand_index(one: npt.NDArray[np.integer], other: npt.NDArray[np.integer]) -> float:
    """Agreement of two label arrays of one shape, by their contingency table (Hubert and Arabie 1985); 1 = the same."""
    (_, first), (_, second) = (np.unique(labels.ravel(), return_inverse=True) for labels in (one, other))
    _, cells = np.unique(first.astype(np.int64) * (int(second.max()) + 1) + second, return_counts=True)
    together = _pairs(cells)
    rows, columns = _pairs(np.bincount(first)), _pairs(np.bincount(second))
    by_chance = rows * columns / _pairs(np.array([one.size]))
    most = (rows + columns) / 2
    return 1.0 if most == by_chance else (together - by_chance) / (most - by_chance)


def _pairs(counts: npt.NDArray[np.integer]) -> float:
    return float((counts.astype(np.float64) * (counts.astype(np.float64) - 1) / 2).sum())


def _flood(area: Bytes, seed: tuple[int, int]) -> Bytes:
    """The 4-connected part of a 0/255 picture around (x, y)."""
    mask = np.zeros((area.shape[0] + 2, area.shape[1] + 2), np.uint8)
    cv2.floodFill(area.copy(), mask, seed, 128, 0, 0, 4 | cv2.FLOODFILL_MASK_ONLY | (255 << 8))
    return mask[1:-1, 1:-1]


def _first_pixel(area: npt.NDArray[np.generic]) -> tuple[int, int] | None:
    rows, columns = np.nonzero(area)
    return (int(columns[0]), int(rows[0])) if len(rows) else None


def _fill(free: Bytes, radius: int, rounds: int = 1000) -> list[Flags]:
    kernel, fills = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2), []
    for _ in range(rounds):
        seed = _first_pixel(cv2.erode(free, kernel))
        if seed is None:
            break
        part = _flood(free, seed)
        shrunk = 255 - cv2.dilate(255 - part, kernel)
        grown = cv2.dilate(_flood(np.asarray(shrunk, np.uint8), seed), kernel) > 0
        fills.append(grown)
        free = np.where(grown, 0, free).astype(np.uint8)
    return fills


def _merge(labels: Labels, sweeps: int = 10) -> Labels:
    for _ in range(sweeps):
        before = labels.copy()
        for region in np.unique(before):
            if region:
                _recolor(labels, region, (before == region).astype(np.uint8))
        if np.unique(labels).size == np.unique(before).size:
            break
    return labels


def _recolor(labels: Labels, region: int, inside: Bytes) -> None:
    """Give a small or simple region the smallest of its neighbours' ids, in place."""
    ring = (cv2.dilate(inside, CROSS) - inside).astype(bool)
    area, neighbours = int(inside.sum()), [label for label in np.unique(labels[ring]) if label != 0]
    contour = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0][0]
    corners = len(cv2.approxPolyDP(contour, 0.02 * cv2.arcLength(contour, True), True))
    target = neighbours[0] if neighbours else (0 if area < 5 else region)
    if corners == 1 or (corners <= 5 and area < 500) or (area < 250 and len(neighbours) == 1) or area < 50:
        labels[inside > 0] = target
