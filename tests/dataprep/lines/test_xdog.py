from math import ceil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dataprep.lines.xdog import (
    COMMON,
    LONG_SIDE,
    RASC_SIGMAS,
    XDoGColumns,
    XDoGSettings,
    difference_of_gaussians,
    draw_sigma,
    xdog,
)
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import decode

STORYBOOK = Path(__file__).parents[4] / "shared" / "data" / "storybook"


def scipy_difference(gray: np.ndarray, settings: XDoGSettings) -> np.ndarray:
    """The formula with scipy's Gaussians, both cut at the same radius."""
    radius = ceil(4 * settings.kappa * settings.sigma)
    narrow = gaussian_filter(gray, settings.sigma, mode="nearest", radius=radius)
    return narrow - settings.tau * gaussian_filter(gray, settings.kappa * settings.sigma, mode="nearest", radius=radius)


def picture(size: int = 40) -> np.ndarray:
    """Flat areas, an edge, a slope and noise."""
    gray = np.full((size, size), 250, np.uint8)
    gray[size // 4 :, : size // 2] = 90
    gray[: size // 2, size // 2 :] = np.linspace(0, 255, size - size // 2).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 5, gray.shape)
    return (gray - np.minimum(gray, noise)).astype(np.uint8)


@pytest.mark.parametrize(
    "settings", [*(XDoGSettings(sigma=sigma) for sigma in RASC_SIGMAS), *COMMON.values()], ids=lambda s: f"{s.tau}"
)
def test_the_difference_agrees_with_scipy_to_float64_precision(settings: XDoGSettings) -> None:
    gray = picture() / 255.0
    np.testing.assert_allclose(
        difference_of_gaussians(gray, settings), scipy_difference(gray, settings), rtol=0, atol=1e-14
    )


def test_one_line_of_five_pixels_worked_by_hand() -> None:
    settings = XDoGSettings(sigma=0.4, tau=0.9, kappa=1.5, phi=2.0, epsilon=0.05)
    row = [0, 255, 255, 51, 102]
    padded = [row[0]] * 3 + row + [row[-1]] * 3  # radius ceil(4 * 1.5 * 0.4) = 3, replicated border

    def blurred(at: int, sigma: float) -> float:
        weights = [np.exp(-(d**2) / (2 * sigma**2)) for d in range(-3, 4)]
        return sum(w * padded[at + 3 + d] / 255 for w, d in zip(weights, range(-3, 4), strict=True)) / sum(weights)

    differences = [blurred(i, 0.4) - 0.9 * blurred(i, 0.6) for i in range(5)]
    expected = [1.0 if d >= 0.05 else 1 + np.tanh(2.0 * (d - 0.05)) for d in differences]
    assert 0 < min(expected) < 1
    gray = np.repeat(np.array([row], np.uint8), 4, axis=0)
    assert xdog(gray, settings).tolist() == [[round(255 * value) for value in expected]] * 4


def test_rasc_numbers_draw_binary_lines_and_the_usual_threshold_would_leave_a_blank_page() -> None:
    lines = xdog(picture(), XDoGSettings(sigma=0.5))
    assert set(np.unique(lines)) == {0, 255}
    assert 0.02 < (lines == 0).mean() < 0.5
    assert np.abs(difference_of_gaussians(picture() / 255.0, XDoGSettings(sigma=0.5))).max() < 1e-4
    assert (xdog(picture(), XDoGSettings(sigma=0.5, epsilon=-0.1)) == 255).all()


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_flat_paper_of_any_grey_stays_white(level: int) -> None:
    flat = np.full((20, 30), level, np.uint8)
    assert (xdog(flat, XDoGSettings()) == 255).all()


def test_lines_lie_on_the_dark_side_of_an_edge() -> None:
    gray = np.full((10, 20), 255, np.uint8)
    gray[:, 10:] = 60
    dark = np.flatnonzero((xdog(gray, XDoGSettings(sigma=0.9)) == 0).all(0))
    assert dark.min() == 10
    assert dark.max() <= 13


def test_common_setting_is_named_for_its_three_sigmas() -> None:
    assert set(COMMON) == {0.3, 0.4, 0.5}
    edge = np.full((16, 16), 255, np.uint8)
    edge[:, 8:] = 0
    assert 0 < (xdog(edge, COMMON[0.4]) == 0).mean() < 1


def test_sigma_is_drawn_evenly_and_depends_on_row_and_seed() -> None:
    drawn = [draw_sigma(f"row-{i}", 3) for i in range(6000)]
    counts = [drawn.count(sigma) for sigma in RASC_SIGMAS]
    assert sum(counts) == 6000
    assert all(abs(count - 1000) < 130 for count in counts)
    assert drawn == [draw_sigma(f"row-{i}", 3) for i in range(6000)]
    assert drawn != [draw_sigma(f"row-{i}", 4) for i in range(6000)]


@pytest.mark.parametrize("wrong", [{"sigma": 0.0}, {"kappa": 1.0}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        XDoGSettings(**wrong)


# ---- large pictures -------------------------------------------------------------------------------------------------


def scanned_disc(side: int = 2400, radius: int = 800) -> np.ndarray:
    """A dark disc on light paper whose edge is as soft as a scanner leaves it."""
    y, x = np.ogrid[:side, :side]
    sharp = np.where((x - side / 2) ** 2 + (y - side / 2) ** 2 < radius**2, 60.0, 230.0)
    return np.rint(cv2.GaussianBlur(sharp, (0, 0), 2.5)).astype(np.uint8)


@pytest.mark.seconds
def test_a_large_page_keeps_its_lines_with_smooth_sharp_sides() -> None:
    page = scanned_disc()
    own, drawn = (xdog(page, XDoGSettings(), long_side) for long_side in (0, LONG_SIDE))
    assert drawn.shape == page.shape
    assert set(np.unique(drawn)) == {0, 255}
    assert (own == 0).mean() < 0.001 < (drawn == 0).mean() < 0.01
    outlines, _ = cv2.findContours((drawn == 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    whole = [outline[:, 0] - 1200.0 for outline in outlines if len(outline) > 500]
    assert len(whole) == 2  # one line around the disc, nowhere broken, no second line beside it
    # Round to within what the pixel grid does to any circle (0.3); stairs of scaled pixels would give 0.85.
    assert all(np.hypot(*outline.T).std() < 0.4 for outline in whole)


def test_a_picture_of_at_most_that_size_is_filtered_as_it_is() -> None:
    gray = picture(64)
    np.testing.assert_array_equal(xdog(gray, XDoGSettings(), 64), xdog(gray, XDoGSettings()))
    assert (xdog(gray, XDoGSettings(), 63) != xdog(gray, XDoGSettings())).any()


def test_the_numbers_of_a_row_are_the_settings_and_a_sigma_of_its_own_where_none_is_set() -> None:
    drawn = {XDoGColumns().numbers(f"row-{i}", 3).sigma for i in range(100)}
    assert drawn == set(RASC_SIGMAS)
    assert XDoGColumns(sigma=0.8, tau=0.9).numbers("row", 3) == XDoGSettings(sigma=0.8, tau=0.9)


@pytest.mark.parametrize("wrong", [{"sigma": -1.0}, {"kappa": 1.0}, {"long_side": 8}])
def test_impossible_settings_of_a_corpus_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        XDoGColumns(**wrong)


@pytest.mark.seconds
@pytest.mark.skipif(not STORYBOOK.is_dir(), reason="the storybook pictures are not beside this checkout")
@pytest.mark.parametrize("scale", [1.0, 4.0], ids=["as they are", "as scans of four times the size"])
def test_storybook_pictures_get_between_a_thousandth_and_two_fifths_of_ink(scale: float) -> None:
    """`python -m benchmarks.extractors.ink` measures all of them."""
    inked = []
    for number, file in enumerate(sorted((STORYBOOK / "images").glob("*.jpg"))[:: 50 if scale > 1 else 20]):
        gray = gray_of(decode(file.read_bytes()))
        page = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else gray
        settings = XDoGSettings(sigma=RASC_SIGMAS[number % len(RASC_SIGMAS)])
        inked.append(float((255 - xdog(np.asarray(page, np.uint8), settings, LONG_SIDE)).mean() / 255))
    assert np.mean([0.001 <= share <= 0.4 for share in inked]) >= 0.95
