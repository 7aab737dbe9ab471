import numpy as np
import pytest

from dataprep.filters import FilterSettings, reject_reason
from dataprep.near_duplicates import near_duplicates
from dataprep.pictures import Picture


def brute_force(hashes, distance):
    """First come, first kept, against every kept row."""
    kept, keeper = [], []
    for row, value in enumerate(hashes):
        near = np.flatnonzero(np.bitwise_count(hashes[kept] ^ value) <= distance) if kept else np.array([], int)
        keeper.append(kept[near[0]] if near.size else row)
        if not near.size:
            kept.append(row)
    return np.array(keeper)


def hashes_with_families(count, seed):
    """Random hashes, half of them 1 to 5 bits from another one, many of them equal in a whole band."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    hashes[: count // 8] &= np.uint64(0xFFFF_0000_00FF_FFFF)
    for row in rng.permutation(count)[: count // 2]:
        flips = rng.choice(64, int(rng.integers(0, 6)), replace=False)
        hashes[row] = hashes[rng.integers(count)] ^ np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64))
    return hashes


def test_near_duplicates_of_20000_hashes_are_those_of_comparing_all():
    hashes = hashes_with_families(20_000, 0)
    keeper = near_duplicates(hashes, 3)
    assert 4000 < (keeper != np.arange(20_000)).sum() < 15_000
    np.testing.assert_array_equal(keeper, brute_force(hashes, 3))


@pytest.mark.parametrize("distance", [0, 1, 4, 7, 20])
def test_any_distance_is_exact(distance):
    hashes = hashes_with_families(600, distance)
    np.testing.assert_array_equal(near_duplicates(hashes, distance), brute_force(hashes, distance))


def test_a_chain_keeps_both_ends():
    """0 and 0b111 are three apart, so are 0b111 and 0b111111, but the ends are six apart."""
    assert near_duplicates(np.array([0, 0b111, 0b111111], np.uint64), 3).tolist() == [0, 0, 2]


def test_a_row_near_two_kept_ones_goes_to_the_first():
    assert near_duplicates(np.array([0b1111, 0, 0b11], np.uint64), 2).tolist() == [0, 1, 0]


def test_no_rows_and_equal_rows():
    assert near_duplicates(np.array([], np.uint64), 3).tolist() == []
    assert near_duplicates(np.array([9, 9, 9], np.uint64), 3).tolist() == [0, 0, 0]


def test_an_impossible_distance_is_refused():
    with pytest.raises(ValueError, match="distance"):
        near_duplicates(np.array([1], np.uint64), 64)


def picture(height, width, levels=100):
    rgb = np.full((height, width, 3), 255, np.uint8)
    rgb[0, 0, 1] -= levels
    return Picture(rgb=rgb, alpha=None, source_is_plain_rgb=True)


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (picture(64, 64), None),
        (picture(63, 200), "too-small"),
        (picture(200, 63), "too-small"),
        (picture(64, 256), None),
        (picture(64, 257), "too-elongated"),
        (picture(257, 64), "too-elongated"),
        (picture(64, 64, levels=8), None),
        (picture(64, 64, levels=7), "blank"),
    ],
)
def test_pictures_are_rejected_for_their_size_shape_and_emptiness(sample, reason):
    assert reject_reason(sample, FilterSettings()) == reason
