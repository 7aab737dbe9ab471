from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from dataprep.randomness import generator
from dataprep.samples.deformation import (
    FULL,
    LATTICE,
    DeformationSettings,
    deform,
    jitter,
    resample,
    thin_plate_spline,
)

STILL = DeformationSettings(bend=0.0)
NO_SHIFT = np.zeros((LATTICE, LATTICE, 2))


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 2)


def lattice_points(side: int) -> np.ndarray:
    axis = np.linspace(-1, 1, side)
    return np.stack([np.tile(axis, side), np.repeat(axis, side)], axis=-1)


def bookstein(points: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Bookstein's linear system, written out: f = a0 + a . x + sum w_i U(|x - x_i|), U = r^2 log r^2."""

    def basis(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squared = ((a[:, None] - b[None]) ** 2).sum(-1)
        return squared * np.log(np.where(squared > 0, squared, 1))

    count = len(points)
    affine = np.column_stack([np.ones(count), points])
    system = np.block([[basis(points, points), affine], [affine.T, np.zeros((3, 3))]])
    solution = np.linalg.solve(system, np.vstack([values, np.zeros((3, 2))]))
    return basis(at, points) @ solution[:count] + np.column_stack([np.ones(len(at)), at]) @ solution[count:]


def test_the_spline_is_that_of_booksteins_linear_system() -> None:
    shift = np.random.default_rng(1).uniform(-0.2, 0.2, (16, 2))
    expected = bookstein(lattice_points(4), shift, lattice_points(LATTICE)).reshape(LATTICE, LATTICE, 2)
    np.testing.assert_allclose(thin_plate_spline(shift, 4), expected, atol=1e-9)


def test_nothing_asked_for_changes_nothing() -> None:
    np.testing.assert_array_equal(deform(picture(), generator(0, 0, "deform"), STILL), picture())


def test_flip_is_the_mirror_image() -> None:
    mirrored = deform(picture(), generator(0, 0, "deform"), replace(STILL, flip=1.0))
    np.testing.assert_array_equal(mirrored, picture()[:, ::-1])


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    square = picture(40, 40)
    np.testing.assert_array_equal(resample(square, NO_SHIFT, np.pi / 2, False), np.rot90(square, -1))


def test_a_shift_of_one_quarter_moves_the_picture_and_leaves_white() -> None:
    rgb = picture(41, 41)
    moved = resample(rgb, NO_SHIFT + np.array([0.5, 0.0]), 0.0, False)
    np.testing.assert_array_equal(moved[:, :31], rgb[:, 10:])
    assert (moved[:, 31:] == 255).all()


def test_the_warp_depends_on_the_random_numbers_alone() -> None:
    one = deform(picture(), generator(3, 7, "deform"), FULL)
    deform(picture(), generator(3, 8, "deform"), FULL)
    np.testing.assert_array_equal(deform(picture(), generator(3, 7, "deform"), FULL), one)
    assert not np.array_equal(deform(picture(), generator(3, 8, "deform"), FULL), one)


def test_the_default_bends_clearly_but_every_part_stays_near_its_place() -> None:
    """The picture holds its own coordinates, so what comes out says where each pixel came from."""
    across, down = np.meshgrid(np.linspace(0, 200, 101), np.linspace(0, 200, 101))
    place = np.stack([across, down, np.zeros_like(down)], axis=-1).round().astype(np.uint8)
    moves = []
    for ordinal in range(20):
        bent = deform(place, generator(1, ordinal, "deform"), DeformationSettings()).astype(float)
        inside = bent[..., 2] == 0
        assert inside.mean() > 0.8
        moves.append(np.abs(bent - place)[inside][:, :2] / 200)
    assert 0.02 < np.concatenate(moves).mean() < 0.06
    assert np.concatenate(moves).max() < 0.1


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ((1.5, 1, 1, 0), (150, 75, 30)),
        ((1, 1, 0, 0), (62, 62, 62)),  # 0.299 * 100 + 0.587 * 50 + 0.114 * 20 = 61.53
        ((1, 1, 1, 1 / 3), (20, 100, 50)),
        ((1, 0, 1, 0), (62, 62, 62)),
        ((9, 1, 1, 0), (255, 255, 180)),
    ],
)
def test_jitter_worked_by_hand_on_one_color(
    factors: tuple[float, float, float, float], expected: tuple[int, int, int]
) -> None:
    one = np.full((4, 4, 3), (100, 50, 20), np.uint8)
    np.testing.assert_allclose(jitter(one, *factors)[0, 0], expected, atol=1)


def test_the_picture_ends_at_the_white_without_a_halo() -> None:
    bent = deform(np.full((60, 60, 3), 90, np.uint8), generator(0, 0, "deform"), FULL)
    assert len(np.unique(bent.reshape(-1, 3), axis=0)) == 2


def test_white_fill_keeps_its_color_whatever_the_jitter() -> None:
    bent = deform(picture(), generator(0, 1, "deform"), DeformationSettings(bend=0.3, brightness=0.5, hue=0.3))
    assert (bent == 255).all(axis=-1).mean() > 0.02


@pytest.mark.parametrize("wrong", [{"grid": 1}, {"bend": -0.1}, {"hue": -1.0}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DeformationSettings(**wrong)
