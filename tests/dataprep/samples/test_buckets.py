"""A picture's bucket is the one of nearest aspect; the tables are the releases'; what does not fill a batch is told."""

import math

import numpy as np
import pytest

from dataprep.samples.buckets import (
    TABLES,
    V1_BUCKETS,
    XL_BUCKETS,
    BucketFill,
    BucketSettings,
    assign_buckets,
    bucket_size,
    bucket_weight,
    fill,
)


def test_the_xl_table_is_the_releases_22_entries_with_the_square_four_times() -> None:
    assert sum(bucket_weight(bucket) for bucket in XL_BUCKETS) == 22
    sides = [bucket_size(bucket) for bucket in XL_BUCKETS]
    assert len(set(sides)) == 19
    assert {width + height for width, height in sides} == {2048}
    assert (min(sides), max(sides)) == ((736, 1312), (1312, 736))
    assert {(height, width) for width, height in sides} == set(sides)


def test_the_v1_table_has_seven_sizes_around_768_and_the_square_weighs_four() -> None:
    assert len(set(V1_BUCKETS)) == 7
    assert [bucket_weight(bucket) for bucket in V1_BUCKETS] == [4, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("table", TABLES)
def test_buckets_of_a_table_have_about_the_same_area_and_serve_both_orientations(table: str) -> None:
    sides = [bucket_size(bucket) for bucket in TABLES[table]]
    square = math.prod(sides[0])
    assert sides[0][0] == sides[0][1]
    assert all(0.9 < math.prod(side) / square < 1.1 for side in sides)
    assert {(height, width) for width, height in sides} == set(sides)


def test_a_picture_gets_the_bucket_of_nearest_aspect_on_a_log_scale() -> None:
    rng = np.random.default_rng(0)
    widths, heights = rng.integers(200, 4000, 300), rng.integers(200, 4000, 300)
    found = assign_buckets(widths, heights, BucketSettings(("xl",)))

    def distance(bucket: str, width: int, height: int) -> float:
        across, down = bucket_size(bucket)
        return abs(math.log(width * down / (height * across)))

    for bucket, width, height in zip(found, widths, heights, strict=True):
        assert distance(bucket, width, height) == pytest.approx(
            min(distance(other, width, height) for other in XL_BUCKETS)
        )


def test_many_pictures_are_assigned_as_few_are() -> None:
    widths = np.arange(100, 100 + 70_000, dtype=np.int32)
    heights = np.full_like(widths, 5000)
    found = assign_buckets(widths, heights, BucketSettings())
    parts = [assign_buckets(widths[i : i + 999], heights[i : i + 999], BucketSettings()) for i in range(0, 70_000, 999)]
    assert (found == np.concatenate(parts)).all()


def test_a_tables_name_stands_for_its_sizes() -> None:
    assert BucketSettings(("tiny", "64x64")).sizes == (*TABLES["tiny"], "64x64")


@pytest.mark.parametrize(
    ("sizes", "told"), [((), "at least one"), (("768",), "WIDTHx"), (("100x64",), "multiples of 8")]
)
def test_what_is_no_bucket_is_refused(sizes: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        BucketSettings(sizes)


def test_fill_counts_whole_batches_and_what_is_left_emptiest_first() -> None:
    fills = fill({"768x768": 600, "576x960": 255, "960x576": 256}, 256)
    assert fills == [
        BucketFill("576x960", 255, 0, 255),
        BucketFill("960x576", 256, 1, 0),
        BucketFill("768x768", 600, 2, 88),
    ]
    assert [found.under_filled for found in fills] == [True, False, False]
    with pytest.raises(ValueError, match="at least one row"):
        fill({}, 0)
