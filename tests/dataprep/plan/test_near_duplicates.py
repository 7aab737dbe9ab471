"""Near duplicates are exactly those that comparing all with all finds, whatever the hashes look like."""

import numpy as np
import pytest

import dataprep.plan.near_duplicates as module
from dataprep.plan.near_duplicates import near_duplicates


def brute_force(hashes: np.ndarray, distance: int) -> np.ndarray:
    """First come, first kept, against every kept row."""
    kept: list[int] = []
    values, keeper = np.empty_like(hashes), []
    for row, value in enumerate(hashes):
        near = np.flatnonzero(np.bitwise_count(values[: len(kept)] ^ value) <= distance)
        keeper.append(kept[near[0]] if near.size else row)
        if not near.size:
            values[len(kept)] = value
            kept.append(row)
    return np.array(keeper)


def hashes_with_families(count: int, seed: int) -> np.ndarray:
    """Random hashes, half of them 1 to 5 bits from another one, many of them equal in a whole band."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    hashes[: count // 8] &= np.uint64(0xFFFF_0000_00FF_FFFF)
    for row in rng.permutation(count)[: count // 2]:
        flips = rng.choice(64, int(rng.integers(0, 6)), replace=False)
        hashes[row] = hashes[rng.integers(count)] ^ np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64))
    return hashes


def test_near_duplicates_of_20000_hashes_are_those_of_comparing_all() -> None:
    hashes = hashes_with_families(20_000, 0)
    keeper = near_duplicates(hashes, 3)
    assert 4000 < (keeper != np.arange(20_000)).sum() < 15_000
    np.testing.assert_array_equal(keeper, brute_force(hashes, 3))


@pytest.mark.parametrize(("rows", "distance"), [*((5000, d) for d in (0, 1, 2, 4, 7)), (600, 3), (600, 20), (600, 63)])
def test_any_distance_is_exact(rows: int, distance: int) -> None:
    hashes = hashes_with_families(rows, distance)
    np.testing.assert_array_equal(near_duplicates(hashes, distance), brute_force(hashes, distance))


def test_a_chain_keeps_both_ends() -> None:
    """0 and 0b111 are three apart, so are 0b111 and 0b111111, but the ends are six apart."""
    assert near_duplicates(np.array([0, 0b111, 0b111111], np.uint64), 3).tolist() == [0, 0, 2]


def test_a_row_near_two_kept_ones_goes_to_the_first() -> None:
    assert near_duplicates(np.array([0b1111, 0, 0b11], np.uint64), 2).tolist() == [0, 1, 0]


def test_no_rows_and_equal_rows() -> None:
    assert near_duplicates(np.array([], np.uint64), 3).tolist() == []
    assert near_duplicates(np.array([9, 9, 9], np.uint64), 3).tolist() == [0, 0, 0]


def test_an_impossible_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="distance"):
        near_duplicates(np.array([1], np.uint64), 64)


def alike(count: int, free_bits: int, seed: int) -> np.ndarray:
    """Hashes that differ in some bits at most, as those of dark or framed pictures, among as many random ones."""
    rng = np.random.default_rng(seed)
    free = np.bitwise_or.reduce(np.uint64(1) << rng.choice(64, free_bits, replace=False).astype(np.uint64))
    hashes = rng.integers(0, 2**64, 2 * count, dtype=np.uint64)
    hashes[:count] = hashes[0] ^ hashes[:count] & free
    return rng.permutation(hashes)


@pytest.mark.parametrize("free_bits", [14, 20, 26, 34])
def test_crowds_of_hashes_that_share_most_bits_are_searched_exactly(free_bits: int) -> None:
    hashes = alike(5000, free_bits, free_bits)
    np.testing.assert_array_equal(near_duplicates(hashes, 3), brute_force(hashes, 3))


@pytest.mark.parametrize("free_bits", [14, 26])
@pytest.mark.parametrize("most_pairs", [5000, 10**9])
def test_crowds_within_crowds_are_searched_exactly(
    monkeypatch: pytest.MonkeyPatch, free_bits: int, most_pairs: int
) -> None:
    """Keys that too many rows share are searched by tables of their own, whether whole or in blocks."""
    monkeypatch.setattr(module, "CROWD", 20)
    monkeypatch.setattr(module, "MOST_PAIRS", most_pairs)
    monkeypatch.setattr(module, "_SAMPLE", 512)
    hashes = alike(2000, free_bits, free_bits)
    np.testing.assert_array_equal(near_duplicates(hashes, 3), brute_force(hashes, 3))


@pytest.mark.seconds
def test_hashes_in_one_row_of_bits_are_searched_exactly() -> None:
    hashes = np.random.default_rng(0).permutation(5000).astype(np.uint64) << np.uint64(50)
    np.testing.assert_array_equal(near_duplicates(hashes, 3), brute_force(hashes, 3))


@pytest.mark.parametrize("most_pairs", [1, 1000, 100_000])
def test_hashes_with_more_pairs_than_memory_has_room_for_are_taken_in_blocks(
    monkeypatch: pytest.MonkeyPatch, most_pairs: int
) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", most_pairs)
    monkeypatch.setattr(module, "_SAMPLE", 512)
    hashes = alike(3000, 20, 1)
    np.testing.assert_array_equal(near_duplicates(hashes, 3), brute_force(hashes, 3))


def test_hardly_more_rows_meet_than_are_close() -> None:
    """The point of the tables: of the 20 billion pairs of 200,000 random hashes, few are compared."""
    compared = 0
    count = np.bitwise_count

    def counting(values: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += values.size
        return count(values)

    hashes = np.random.default_rng(0).integers(0, 2**64, 200_000, dtype=np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "bitwise_count", counting)
        near_duplicates(hashes, 3)
    assert compared < 20 * 200_000
