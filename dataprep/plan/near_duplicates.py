"""Exact search for nearly equal 64-bit hashes over millions of rows, by several hash tables (multi-index hashing).

Two hashes that differ in at most `distance` bits are equal in at least B - distance of any B bands of bits: so they
meet in one of the C(B, distance) tables whose keys are the bits of B - distance bands. More bands mean more tables,
longer keys and fewer hashes that meet for nothing: for six million hashes and distance 3, one band of four (16 bits)
lets each meet 92 others in each of 4 tables, two bands of five (25 bits) 0.1 in each of 10. A table is one sort.
(Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007, section 3.)

Hashes of pictures are not random: those of dark, framed or empty ones share most bits. So bands are dealt from the bits
that vary, the most even ones first, and a crowd that shares one key is searched again by the bits that vary in it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations, islice
from math import isqrt

import numpy as np
import numpy.typing as npt

BITS = 64
THREADS = 2
CROWD = 4096  # rows of one key that are not compared each with each any more
MOST_PAIRS = 64_000_000  # that are to be in memory at once (1.5 GB); denser hashes are taken in blocks
_BLOCK = 1 << 19  # comparisons at a time
_SAMPLE = 1 << 16  # hashes by which the density of pairs is estimated
_COMPARE_COST = 0.2  # of one comparison, in sorted rows (measured on two cores)
_MOST_BANDS = 4  # bands beyond `distance`

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.intp]
Pairs = tuple[Rows, Rows]  # (earlier, later)
Bands = Sequence[tuple[int, int]]  # (lowest bit, bits)


def near_duplicates(phashes: Hashes, distance: int) -> Rows:
    """For each row of phashes (N,) the index of the row that stands for it: its own when it is kept.

    Rows are taken in order: one within `distance` bits of kept rows is dropped in favour of the first of these, all
    others are kept. So kept rows are further apart than `distance`, and a chain a~b~c whose ends differ keeps a and c.
    """
    if not 0 <= distance < BITS:
        raise ValueError(f"distance must be in [0, {BITS}), got {distance}")
    hashes = np.asarray(phashes, dtype=np.uint64)
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    distinct = np.sort(first)  # rows that equal no earlier row
    keeper = _greedy(hashes[distinct], distance) if distance else np.arange(distinct.size)
    place = np.empty(hashes.size, np.intp)
    place[distinct] = np.arange(distinct.size)
    return np.asarray(distinct[keeper[place[first]]][inverse], dtype=np.intp)


def _greedy(hashes: Hashes, distance: int) -> Rows:
    """`near_duplicates` for hashes that are all different, in blocks that hold about MOST_PAIRS pairs at most."""
    keeper, rest = np.arange(hashes.size), np.arange(hashes.size)
    size = _block_size(hashes, distance)
    while rest.size:
        block, rest = rest[:size], rest[size:]
        keeper[block] = block[_first_come(hashes[block], distance)]
        kept = block[keeper[block] == block]
        # Every kept row of a block comes before every row of the rest: only the rows near none of them go on.
        near = _first_near(hashes[np.concatenate([kept, rest])], kept.size, distance) if rest.size else rest
        keeper[rest[near >= 0]] = kept[near[near >= 0]]
        rest = rest[near < 0]
    return keeper


def _block_size(hashes: Hashes, distance: int) -> int:
    """How many rows have about MOST_PAIRS pairs, to judge by a sample: pairs grow with the square of the rows."""
    sample = hashes[:: max(1, hashes.size // _SAMPLE)]
    pairs = sum(earlier.size for earlier, _ in close_pairs(sample, distance))
    return max(_SAMPLE, sample.size * isqrt(MOST_PAIRS // max(pairs, 1)) if pairs else hashes.size)


def _first_come(hashes: Hashes, distance: int) -> Rows:
    """`near_duplicates` for different hashes with few pairs."""
    keeper = np.arange(hashes.size)
    # By the later row, then by the earlier: whether the earlier is kept is settled before it is asked.
    found = [
        later.astype(np.uint64) << 32 | earlier.astype(np.uint64) for earlier, later in close_pairs(hashes, distance)
    ]
    pairs = np.unique(np.concatenate([np.empty(0, np.uint64), *found]))
    for start in range(0, pairs.size, _BLOCK):
        some = pairs[start : start + _BLOCK]
        for later, earlier in zip((some >> 32).tolist(), (some & 0xFFFF_FFFF).tolist(), strict=True):
            if keeper[earlier] == earlier and keeper[later] == later:
                keeper[later] = earlier
    return keeper


def _first_near(hashes: Hashes, kept: int, distance: int) -> Rows:
    """For each hash but the first `kept`: which of these is the first within `distance` of it, or -1."""
    nearest = np.full(hashes.size, kept)
    for earlier, later in close_pairs(hashes, distance, kept):
        np.minimum.at(nearest, later, earlier)
    return np.where(nearest < kept, nearest, -1)[kept:]


def close_pairs(hashes: Hashes, distance: int, first: int | None = None) -> Iterator[Pairs]:
    """All pairs of rows within `distance` bits whose earlier row is one of the `first` (default: all) rows.

    Hashes (N,) are all different; a pair may come more than once. THREADS tables are in memory at a time.
    """
    first = hashes.size if first is None else first
    tables = _tables(hashes, distance)
    if tables is None:
        yield from _compared(hashes, np.arange(hashes.size), np.array([0]), np.array([hashes.size]), distance, first)
        return
    permuted, keys = tables
    search = partial(_search_table, permuted, distance=distance, first=first)
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = iter(keys)
        running = [pool.submit(search, key) for key in islice(waiting, THREADS)]
        while running:
            yield from running.pop(0).result()
            running += [pool.submit(search, key) for key in islice(waiting, 1)]


def _tables(hashes: Hashes, distance: int) -> tuple[Hashes, list[Bands]] | None:
    """The hashes with their bits dealt into bands, and the bands of each table's key; None to compare all with all."""
    differing = int(np.bitwise_or.reduce(hashes) ^ np.bitwise_and.reduce(hashes)) if hashes.size else 0
    varying = [bit for bit in range(BITS) if differing >> bit & 1]
    if hashes.size <= CROWD or len(varying) <= distance:
        return None
    sample = hashes[:: hashes.size // _SAMPLE or 1]
    ones = np.array([np.count_nonzero(sample >> np.uint64(bit) & np.uint64(1)) for bit in varying])
    evenest = [varying[place] for place in np.argsort(np.abs(2 * ones - sample.size), kind="stable")]
    room = BITS - hashes.size.bit_length()  # the key is sorted together with the row's number
    dealt = [_dealt(evenest, distance, more) for more in range(1, min(_MOST_BANDS, len(evenest) - distance) + 1)]
    fitting = [deal for deal in dealt if max(sum(bits for _, bits in key) for key in deal[1]) <= room]
    costs = [_cost(_permuted(sample, bits), keys, hashes.size) for bits, keys in fitting]
    if min(costs) > _COMPARE_COST * hashes.size**2 / 2:
        return None
    bits, keys = fitting[int(np.argmin(costs))]
    return _permuted(hashes, bits), keys


def _dealt(bits: Sequence[int], distance: int, more: int) -> tuple[list[int], list[Bands]]:
    """The bits dealt like cards into distance + more bands, band after band, and every choice of `more` bands."""
    dealt = [bits[band :: distance + more] for band in range(distance + more)]
    edges = np.cumsum([0, *map(len, dealt)]).tolist()
    bands = [(edge, len(band)) for edge, band in zip(edges, dealt, strict=False)]
    return [bit for band in dealt for bit in band], [list(key) for key in combinations(bands, more)]


def _cost(sample: Hashes, keys: Sequence[Bands], rows: int) -> float:
    """Of all tables, in sorted rows: more of them, or more rows that meet under shorter keys (judged by the first)."""
    _, met = np.unique(_key_values(sample, keys[0]), return_counts=True)
    comparisons = float((met * (met - 1) // 2).sum()) * (rows / sample.size) ** 2
    return len(keys) * (rows + _COMPARE_COST * comparisons)


def _key_values(hashes: Hashes, key: Bands) -> Hashes:
    """The bits of the key's bands, one beside the other."""
    values = np.zeros(hashes.size, np.uint64)
    for low, bits in key:
        values = values << np.uint64(bits) | hashes >> np.uint64(low) & np.uint64(2**bits - 1)
    return values


def _permuted(hashes: Hashes, bits: Sequence[int]) -> Hashes:
    """Hashes whose bit `place` is the former bit `bits[place]`; the others are dropped."""
    moved = np.zeros((BITS // 8, 256), np.uint64)  # byte, its value -> its bits in their new places
    for place, bit in enumerate(bits):
        moved[bit // 8] |= (np.arange(256, dtype=np.uint64) >> np.uint64(bit % 8) & np.uint64(1)) << np.uint64(place)
    octets = hashes.astype("<u8").view(np.uint8).reshape(-1, BITS // 8)
    permuted = np.zeros(hashes.size, np.uint64)
    for octet in range(BITS // 8):
        permuted |= moved[octet][octets[:, octet]]
    return permuted


def _search_table(hashes: Hashes, key: Bands, distance: int, first: int) -> list[Pairs]:
    """The close pairs of rows that are equal in the key's bands."""
    row_bits = np.uint64(hashes.size.bit_length())
    entries = _key_values(hashes, key) << row_bits | np.arange(hashes.size, dtype=np.uint64)
    entries.sort()  # by the key, then by the row: among equals earlier rows come first
    keys, order = entries >> row_bits, (entries & np.uint64((1 << int(row_bits)) - 1)).view(np.int64)
    edges = np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1, [keys.size]])
    start, end = edges[:-1][np.diff(edges) > 1], edges[1:][np.diff(edges) > 1]
    crowded = end - start > CROWD
    crowds = [order[low:high] for low, high in zip(start[crowded], end[crowded], strict=True)]
    found = [pairs for rows in crowds for pairs in _search_crowd(hashes, rows, distance, first)]
    return found + list(_compared(hashes, order, start[~crowded], end[~crowded], distance, first))


def _search_crowd(hashes: Hashes, rows: Rows, distance: int, first: int) -> Iterator[Pairs]:
    """The close pairs among some rows, given in order."""
    first = int(np.searchsorted(rows, first))
    tables = _tables(hashes[rows], distance)
    if tables is None or first <= CROWD:
        everything = np.array([0]), np.array([rows.size])
        found = _compared(hashes[rows], np.arange(rows.size), *everything, distance, first)
    else:
        permuted, keys = tables
        found = (pairs for key in keys for pairs in _search_table(permuted, key, distance, first))
    for earlier, later in found:
        yield rows[earlier], rows[later]


def _compared(hashes: Hashes, order: Rows, start: Rows, end: Rows, distance: int, first: int) -> Iterator[Pairs]:
    """The close pairs within the groups order[start:end], each with rows in order, _BLOCK comparisons at a time."""
    sizes = end - start
    members = np.repeat(start - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
    others = np.repeat(end, sizes) - members - 1  # that come after each member in its group
    others[order[members] >= first] = 0
    done = np.cumsum(others)
    for low, high in _blocks(done):
        member, count = members[low:high], others[low:high]
        before = np.repeat(np.cumsum(count) - count, count)
        one = np.repeat(member, count)
        other = one + 1 + np.arange(one.size) - before
        near = np.bitwise_count(hashes[order[one]] ^ hashes[order[other]]) <= distance
        if near.any():
            yield order[one[near]], order[other[near]]


def _blocks(done: Rows) -> Iterator[tuple[int, int]]:
    """Ranges of members whose comparisons, `done` when each is through, are about _BLOCK."""
    low = 0
    while low < done.size:
        before = done[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(done, before + _BLOCK)))
        if done[high - 1] > before:
            yield low, high
        low = high
