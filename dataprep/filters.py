"""Which pictures a corpus does not take: too small, too elongated, blank, or nearly the same as another one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dataprep.pictures import Picture

BITS = 64


@dataclass(frozen=True)
class FilterSettings:
    """Sizes in pixels."""

    min_side: int = 64
    max_aspect: float = 4.0  # long side / short side
    min_contrast: int = 8  # difference of the brightest and the darkest level of at least one channel
    phash_distance: int = 3  # pictures whose perceptual hashes differ in at most so many bits are the same


def reject_reason(picture: Picture, settings: FilterSettings) -> str | None:
    """Why a picture is dropped ("too-small", "too-elongated", "blank"), or None when it is taken."""
    short, long = sorted(picture.rgb.shape[:2])
    if short < settings.min_side:
        return "too-small"
    if long > settings.max_aspect * short:
        return "too-elongated"
    channels = picture.rgb.reshape(-1, 3)
    if int(np.max(channels.max(0) - channels.min(0))) < settings.min_contrast:
        return "blank"
    return None


def near_duplicates(phashes: npt.NDArray[np.uint64], distance: int) -> npt.NDArray[np.intp]:
    """For each row of phashes (N,) the index of the row that stands for it: its own when it is kept.

    Rows are taken in order: one within `distance` bits of kept rows is dropped in favour of the first of these, all
    others are kept. So kept rows are further apart than `distance`, and a chain a~b~c whose ends differ keeps a and c.
    """
    if not 0 <= distance < BITS:
        raise ValueError(f"distance must be in [0, {BITS}), got {distance}")
    hashes = np.asarray(phashes, dtype=np.uint64)
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    distinct = np.sort(first)  # rows that equal no earlier row
    keeper = _greedy(hashes[distinct], distance)
    place = np.searchsorted(distinct, first)
    return np.asarray(distinct[keeper[place]][inverse], dtype=np.intp)


def _greedy(hashes: npt.NDArray[np.uint64], distance: int) -> npt.NDArray[np.intp]:
    """`near_duplicates` for hashes that are all different."""
    keeper = np.arange(hashes.size)
    pairs = [close for band in _bands(distance) for close in _close_pairs(hashes, distance, *band)]
    if not pairs:
        return keeper
    # By the later row, then by the earlier: whether the earlier is kept is settled before it is asked.
    for earlier, later in np.unique(np.concatenate(pairs), axis=0)[:, ::-1].tolist():
        if keeper[earlier] == earlier and keeper[later] == later:
            keeper[later] = earlier
    return keeper


def _bands(distance: int) -> list[tuple[int, int]]:
    """(shift, bits) of distance + 1 bands: hashes that differ in at most `distance` bits are equal in one of them."""
    edges = np.linspace(0, BITS, distance + 2).astype(int).tolist()
    return [(low, high - low) for low, high in pairwise(edges)]


def _close_pairs(
    hashes: npt.NDArray[np.uint64], distance: int, shift: int, bits: int
) -> Iterator[npt.NDArray[np.intp]]:
    """Pairs (later, earlier), (P, 2), of rows that are equal in one band and within `distance` bits in all.

    Sorted by the band, equal rows lie together; rows k apart are compared all at once until no group is longer than k.
    """
    band = (hashes >> np.uint64(shift)) & np.uint64(2**bits - 1)
    order = np.argsort(band, kind="stable")  # within a band earlier rows come first
    band, hashes = band[order], hashes[order]
    start = np.arange(hashes.size)
    for apart in range(1, hashes.size):
        start = start[start + apart < hashes.size]
        start = start[band[start] == band[start + apart]]
        if not start.size:
            return
        near = start[np.bitwise_count(hashes[start] ^ hashes[start + apart]) <= distance]
        if near.size:
            yield np.stack([order[near + apart], order[near]], axis=1)
