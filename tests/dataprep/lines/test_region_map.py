"""The independent truth is the plain implementation of the published steps that the benchmark also measures against."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from benchmarks.corpus.published_regions import adjusted_rand_index, published_regions
from benchmarks.corpus.regions import agreement
from dataprep.faults import Fault
from dataprep.lines.region_map import SCHEDULES, RegionSettings, count_regions, patches, region_map, trapped_ball
from dataprep.lines.xdog import XDoGSettings, xdog

STORYBOOK = Path(__file__).parents[4] / "shared" / "data" / "storybook"
DEFAULTS = RegionSettings()


# ---- drawings -------------------------------------------------------------------------------------------------------


def drawing(seed: int, size: int = 96, thickness: int = 1) -> np.ndarray:
    """Circles and lines with gaps."""
    rng = np.random.default_rng(seed)
    page = np.full((size, size + 13), 255, np.uint8)
    for _ in range(7):
        x, y, r = (int(v) for v in rng.integers(8, size - 8, 3))
        start = int(rng.integers(0, 360))
        cv2.ellipse(page, (x, y), (r // 2 + 3, r // 3 + 3), start, 0, int(rng.integers(300, 360)), 0, thickness)
        a, b = rng.integers(0, size, (2, 2)).tolist()
        cv2.line(page, a, b, 0, thickness)
    return page


def noisy_line_art(seed: int, size: int = 96) -> np.ndarray:
    """XDoG of flat shapes with paper grain: crumbs everywhere."""
    rng = np.random.default_rng(seed)
    page = np.full((size, size), 230, np.uint8)
    for _ in range(6):
        x, y, r = (int(v) for v in rng.integers(8, size - 8, 3))
        cv2.circle(page, (x, y), r // 3 + 2, int(rng.integers(0, 255)), -1)
    grain = rng.normal(0, 3, page.shape)
    return xdog(np.clip(page + grain, 0, 255).astype(np.uint8), XDoGSettings(sigma=0.9))


DRAWINGS = [
    *(drawing(seed) for seed in range(6)),
    *(drawing(seed, thickness=3) for seed in range(6, 8)),
    *(noisy_line_art(seed) for seed in range(4)),
]


@pytest.mark.parametrize("line_art", DRAWINGS, ids=range(len(DRAWINGS)))
def test_regions_are_those_of_the_published_steps_pixel_for_pixel(line_art: np.ndarray) -> None:
    plain = published_regions(line_art)
    ours = trapped_ball(line_art, DEFAULTS)
    assert agreement(ours, plain) == 1.0
    np.testing.assert_array_equal(np.unique(plain, return_inverse=True)[1].reshape(plain.shape), ours)


@pytest.mark.parametrize("side", [37, 120])
def test_dense_line_art_of_odd_sizes_is_divided_as_published(side: int) -> None:
    """Specks: very many fills of each radius, and merging in many sweeps."""
    rng = np.random.default_rng(side)
    specks = cv2.GaussianBlur(rng.random((side, side + 9)), (0, 0), 1.1) > 0.49
    line_art = np.where(specks, 255, 0).astype(np.uint8)
    plain, ours = published_regions(line_art), trapped_ball(line_art, DEFAULTS)
    np.testing.assert_array_equal(np.unique(plain, return_inverse=True)[1].reshape(plain.shape), ours)
    assert ours.max() > side // 8


def test_agreement_is_the_adjusted_rand_index() -> None:
    rng = np.random.default_rng(0)
    for classes in (1, 3, 40):
        one, other = rng.integers(0, classes, (2, 500))
        mixed = np.where(rng.random(500) < 0.7, one, other)
        assert adjusted_rand_index(one, mixed) == pytest.approx(adjusted_rand_score(one, mixed))
        assert adjusted_rand_index(one, other * 3) == pytest.approx(adjusted_rand_score(one, other))


def test_the_schedule_of_the_fork_is_followed_too() -> None:
    line_art = noisy_line_art(9)
    plain = published_regions(line_art, ((3, "max"), (2, "mean"), (1, "mean")))
    ours = trapped_ball(line_art, RegionSettings(variant="fork"))
    assert agreement(ours, plain) == 1.0
    assert not np.array_equal(ours, trapped_ball(line_art, DEFAULTS))


def test_a_schedule_of_ones_own_goes_before_the_published_ones() -> None:
    line_art = noisy_line_art(9)
    own = RegionSettings(schedule=((2, "all"),))
    assert agreement(trapped_ball(line_art, own), published_regions(line_art, ((2, "all"),))) == 1.0
    assert replace(own, schedule=(), variant="fork").steps() == SCHEDULES["fork"]


@pytest.mark.skipif(not STORYBOOK.is_dir(), reason="the storybook pictures are not beside this checkout")
def test_regions_of_a_real_picture_are_those_of_the_published_steps() -> None:
    with (STORYBOOK / "index.csv").open() as lines:
        name = next(csv.DictReader(lines))["file"]
    picture = cv2.imread(str(next(STORYBOOK.rglob(Path(name).name))), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    small = np.asarray(cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)
    line_art = xdog(small, XDoGSettings(sigma=0.6))
    assert agreement(trapped_ball(line_art, DEFAULTS), published_regions(line_art)) >= 0.98


# ---- properties -----------------------------------------------------------------------------------------------------


def boxes(gap: int = 0) -> np.ndarray:
    """Two rooms of 30 x 40 side by side; a gap in the wall between them."""
    page = np.full((40, 61), 255, np.uint8)
    page[:, 30] = 0
    page[18 : 18 + gap, 30] = 255
    return page


def test_a_gap_narrower_than_the_ball_does_not_join_two_rooms() -> None:
    labels = trapped_ball(boxes(gap=4), DEFAULTS)
    assert labels[20, 5] != labels[20, 55]
    assert labels[20, 5] > 0
    assert labels[20, 55] > 0


def test_a_gap_wider_than_the_ball_joins_them() -> None:
    labels = trapped_ball(boxes(gap=8), DEFAULTS)
    assert labels[20, 5] == labels[20, 55] > 0


def test_ids_have_no_holes_and_zero_is_the_line() -> None:
    line_art = noisy_line_art(5)
    labels = trapped_ball(line_art, DEFAULTS)
    assert labels.dtype == np.uint16
    assert set(np.unique(labels)) == set(range(int(labels.max()) + 1))
    assert (labels[line_art <= 220] == 0).all()


def test_the_largest_region_of_the_largest_ball_is_number_one() -> None:
    page = boxes()
    page[:, 25:30] = 0
    assert trapped_ball(page, DEFAULTS)[0, 60] == 1
    assert trapped_ball(page, DEFAULTS)[0, 0] == 2


@pytest.mark.parametrize(("level", "region"), [(255, 1), (221, 1), (220, 0), (0, 0)])
def test_pages_of_one_grey_are_all_paper_or_all_line(level: int, region: int) -> None:
    assert (trapped_ball(np.full((20, 30), level, np.uint8), DEFAULTS) == region).all()


def test_at_most_so_many_fills_of_each_radius_are_taken_in_their_order() -> None:
    page = np.full((21, 90), 255, np.uint8)
    page[:, 20::21] = 0
    settings = RegionSettings(schedule=((3, "all"),), max_fills=2, max_rest=1, merge_sweeps=0)
    labels = trapped_ball(page, settings)
    # Two rooms by the ball, one of what is left, and the others stay unfilled.
    assert [int(labels[10, x]) for x in (10, 31, 52, 73, 87)] == [1, 2, 3, 0, 0]


def test_thinning_leaves_no_line_and_keeps_the_regions() -> None:
    line_art = drawing(3, thickness=3)
    thick = trapped_ball(line_art, DEFAULTS)
    thin = trapped_ball(line_art, RegionSettings(thin=True))
    assert (thin > 0).all()
    np.testing.assert_array_equal(thin[thick > 0], thick[thick > 0])


def test_thinning_takes_the_left_neighbour_first() -> None:
    thin = trapped_ball(boxes(), RegionSettings(thin=True))
    assert (thin[:, 30] == thin[:, 29]).all()


@pytest.mark.parametrize(("side", "count"), [(256, 1), (32, 64), (20, 169), (16, 256), (8, 1024)])
def test_patches_are_as_many_as_the_paper_counts(side: int, count: int) -> None:
    labels = region_map(np.full((256, 256), 255, np.uint8), RegionSettings(variant="patches", patch=side))
    assert np.unique(labels).tolist() == list(range(1, count + 1))
    assert np.bincount(labels.ravel()).max() == side * side


def test_patches_are_numbered_row_by_row_and_cut_at_the_border() -> None:
    assert patches((3, 5), 2).tolist() == [[1, 1, 2, 2, 3], [1, 1, 2, 2, 3], [4, 4, 5, 5, 6]]


def test_patches_too_many_for_a_map_are_refused_with_the_least_side_that_fits() -> None:
    line_art = np.full((2100, 2100), 255, np.uint8)
    said = r"2100x2100 has 122500 patches of 6 pixels, .*65535: set regions\.patch to at least 9, or canvas\.size"
    with pytest.raises(Fault, match=said):
        region_map(line_art, RegionSettings(variant="patches", patch=6))
    assert region_map(line_art, RegionSettings(variant="patches", patch=9)).max() == 234**2
    assert patches((1, 65535), 1).max() == 65535
    with pytest.raises(Fault, match=r"65536x1 has 65536 .* at least 2"):
        patches((1, 65536), 1)


def test_regions_of_large_pictures_are_counted_as_they_are_at_256_pixels() -> None:
    labels = np.zeros((512, 300), np.uint16)
    labels[:256], labels[256:] = 1, 2
    labels[1, 1] = 3  # one pixel between those that are seen
    assert count_regions(labels) == 2
    assert count_regions(labels[:64, :64]) == 2
    assert count_regions(np.zeros((1, 7), np.uint16)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": ((0, "all"),)},
        {"schedule": ((1, "most"),)},
        {"max_rest": 60_000},
        {"max_rest": 0},
        {"patch": 0},
        {"variant": "orig"},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RegionSettings(**wrong)
