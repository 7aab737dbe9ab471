"""What is drawn here has known strokes, so what becomes of them can be counted."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from scipy import ndimage

from dataprep.lines.strokes import StrokeSettings, _facing, even_strokes, thinned

DEFAULTS = StrokeSettings()
EIGHT = np.ones((3, 3))


def page(height: int = 90, width: int = 140) -> np.ndarray:
    return np.full((height, width), 255, np.uint8)


def parts(sketch: np.ndarray) -> int:
    """How many pieces of ink there are."""
    return ndimage.label(sketch < 128, EIGHT)[1]


def ink_across(sketch: np.ndarray, column: int) -> float:
    """Line widths' worth of ink in a column."""
    return (255.0 - sketch[:, column]).sum() / 255


# ---- thinning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_thinning_keeps_the_pieces_and_the_holes_of_any_drawing(share: float) -> None:
    noise = (np.random.default_rng(3).random((120, 150)) < share).astype(np.uint8)
    blobs = (cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 2.0) > share).astype(np.uint8)
    for lines in (noise, blobs):
        thin = thinned(lines, 200)
        assert ndimage.label(thin, EIGHT)[1] == ndimage.label(lines, EIGHT)[1]
        # Holes are 4-connected; the paper outside is one of them, also where lines touch the border.
        assert (
            ndimage.label(np.pad(1 - thin, 1, constant_values=1))[1]
            == ndimage.label(np.pad(1 - lines, 1, constant_values=1))[1]
        )
        assert not (thin & ~lines).any()
        assert (thinned(thin, 200) == thin).all()


def test_a_bar_becomes_one_line_of_one_pixel_along_its_middle() -> None:
    lines = np.zeros((40, 80), np.uint8)
    lines[10:17, 5:75] = 1
    thin = thinned(lines, 10)
    assert (thin.sum(0)[9:71] == 1).all()
    assert thin[13, 12:68].all()


# ---- one width ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1.0, 2.0, 3.0, 4.5])
def test_all_strokes_get_the_width_that_is_asked_for(width: float) -> None:
    sketch = page()
    sketch[20, 10:130] = 0
    sketch[50:55, 10:130] = 0
    even = even_strokes(sketch, StrokeSettings(width=width))
    for rows in (slice(0, 35), slice(35, 90)):
        assert ink_across(even[rows], 70) == pytest.approx(width, abs=0.02)


def test_without_a_width_all_strokes_get_the_usual_one_of_the_sketch() -> None:
    sketch = page(120)
    for row, thick in ((15, 3), (40, 3), (65, 3), (95, 5)):
        sketch[row : row + thick, 10:130] = 0
    even = even_strokes(sketch, DEFAULTS)
    for rows in (slice(0, 28), slice(28, 52), slice(52, 80), slice(80, 120)):
        assert ink_across(even[rows], 70) == pytest.approx(3, abs=0.15)


def test_soft_lines_are_as_wide_as_they_are_at_half_their_height() -> None:
    sketch = page()
    sketch[30:33, 10:130] = 0
    sketch[60:63, 10:130] = 0
    soft = np.asarray(cv2.GaussianBlur(sketch, (0, 0), 1.2), np.uint8)
    assert ink_across(even_strokes(soft, DEFAULTS)[:45], 70) == pytest.approx(3.0, abs=0.5)


def test_a_wash_between_two_lines_does_not_make_them_one() -> None:
    sketch = page()
    sketch[30:42, 10:130] = 170  # darker than the threshold, but not half as dark as the lines
    sketch[30:33, 10:130] = sketch[39:42, 10:130] = 0
    even = even_strokes(sketch, DEFAULTS)
    assert parts(even) == 2
    assert (even[34:38, 20:120] == 255).all()


def test_faint_strokes_stay_faint() -> None:
    sketch = page()
    sketch[20:23, 10:130] = 0
    sketch[60:63, 10:130] = 150
    even = even_strokes(sketch, DEFAULTS)
    assert even[21, 70] == 0
    assert even[61, 70] == 150


@pytest.mark.parametrize("blur", [0.0, 0.8], ids=["hard", "soft"])
@pytest.mark.parametrize("tone", [60, 120, 140, 180])
@pytest.mark.parametrize("distance", [5, 7, 8, 9])
def test_a_faint_stroke_beside_a_dark_one_keeps_its_ink_and_its_tone(distance: int, tone: int, blur: float) -> None:
    both, alone = page(), page()
    both[39:42, 10:130] = 0
    for sketch in (both, alone):
        sketch[39 + distance : 42 + distance, 10:130] = tone
    if blur:
        both, alone = (cv2.GaussianBlur(sketch, (0, 0), blur) for sketch in (both, alone))
    even = even_strokes(both, DEFAULTS)[40 + distance // 2 + 1 :]
    assert ink_across(even, 70) == pytest.approx(ink_across(alone, 70), rel=0.05)
    assert even[:, 70].min() == pytest.approx(alone[:, 70].min(), abs=1)


def test_lines_of_one_pixel_stay_as_they_are() -> None:
    sketch = page()
    cv2.line(sketch, (10, 10), (120, 10), 0, 1)
    cv2.line(sketch, (15, 30), (55, 70), 0, 1)
    np.testing.assert_array_equal(even_strokes(sketch, replace(DEFAULTS, gap=0, width=1.0)), sketch)


def test_black_areas_stay_while_lines_are_evened() -> None:
    sketch = page(160, 200)
    cv2.circle(sketch, (150, 80), 35, 0, -1)
    for row, thick in ((20, 3), (50, 3), (80, 5), (110, 3)):
        sketch[row : row + thick, 10:90] = 0
    even = even_strokes(sketch, DEFAULTS)
    assert (even[:, 105:] != sketch[:, 105:]).mean() < 0.01
    assert ink_across(even[65:95], 50) == pytest.approx(3, abs=0.15)


def test_a_second_treatment_moves_little_ink_and_adds_none() -> None:
    sketch = page(200, 200)
    for radius, thick in ((20, 2), (45, 4), (80, 3)):
        cv2.circle(sketch, (100, 100), radius, 0, thick, cv2.LINE_AA)
    once = even_strokes(sketch, DEFAULTS)
    twice = even_strokes(once, DEFAULTS)
    ink = (255.0 - once).sum()
    assert (255.0 - twice).sum() == pytest.approx(ink, rel=0.05)
    assert np.abs(twice.astype(int) - once).sum() < 0.15 * ink


# ---- joining --------------------------------------------------------------------------------------------------------


def two_strokes(gap: int, turn_degrees: float = 0.0, aside: int = 0, thick: int = 3) -> np.ndarray:
    """A stroke from the left and one that goes on `gap` pixels behind its end, turned and moved aside."""
    sketch = page()
    cv2.line(sketch, (10, 40), (60, 40), 0, thick)
    turn = np.radians(turn_degrees)
    start = np.array([60 + gap + thick - 1, 40 + aside])
    end = start + 50 * np.array([np.cos(turn), np.sin(turn)])
    cv2.line(sketch, start.tolist(), np.rint(end).astype(int).tolist(), 0, thick)
    assert parts(sketch) == 2
    return sketch


@pytest.mark.parametrize(("gap", "turn", "aside"), [(4, 0, 0), (6, 0, 0), (8, 0, 1), (6, 20, 0)])
def test_a_gap_between_strokes_that_go_on_is_closed(gap: int, turn: int, aside: int) -> None:
    assert parts(even_strokes(two_strokes(gap, turn, aside), DEFAULTS)) == 1


@pytest.mark.parametrize(
    ("gap", "turn", "aside"),
    [(30, 0, 0), (6, 60, 0), (6, 90, 3), (4, 0, 12)],
    ids=["far", "turned", "square", "beside"],
)
def test_strokes_that_do_not_belong_together_stay_apart(gap: int, turn: int, aside: int) -> None:
    assert parts(even_strokes(two_strokes(gap, turn, aside), DEFAULTS)) == 2


def test_no_gap_is_closed_where_none_is_to_be() -> None:
    assert parts(even_strokes(two_strokes(5), replace(DEFAULTS, gap=0))) == 2


def test_parallel_strokes_that_end_together_stay_apart() -> None:
    sketch = page()
    sketch[30:33, 10:70] = sketch[38:41, 10:70] = 0
    assert parts(even_strokes(sketch, DEFAULTS)) == 2


def test_each_end_is_joined_to_its_best_partner_only() -> None:
    sketch = two_strokes(6)
    cv2.line(sketch, (69, 34), (119, 26), 0, 3)  # within reach too, but the other is nearer and straight ahead
    assert parts(sketch) == 3
    assert parts(even_strokes(sketch, replace(DEFAULTS, angle=50.0))) == 2


@pytest.mark.parametrize(("farther", "best"), [(0, 2), (20, 1)])
def test_an_end_that_both_see_a_little_aside_goes_before_one_ahead_that_looks_away(farther: int, best: int) -> None:
    """Of ends as far: cos 43° squared is more than cos 60°, though less in sum. A nearer one goes before both."""
    aside, off = np.radians(60), np.radians(43)
    other = np.rint(200 + (100 + farther) * np.array([np.sin(off), np.cos(off)])).astype(int)
    ends = np.array([[200, 200], [200, 300], other])
    outward = np.array([[0, 1], [-np.sin(aside), -np.cos(aside)], [0, -1]])
    assert _facing(ends, outward, 130, np.cos(np.radians(65))).tolist() == [[0, best]]


@pytest.mark.parametrize(("hook", "thick"), [(3, 2), (2, 3)])
def test_a_hook_at_the_tip_does_not_turn_a_stroke_away_from_where_it_goes(hook: int, thick: int) -> None:
    sketch = page()
    for start, end in (((10, 40), (60, 40)), ((60, 40), (60 + hook, 40 - hook)), ((67 + hook, 40), (130, 40))):
        cv2.line(sketch, start, end, 0, thick)
    assert parts(sketch) == 2
    assert parts(even_strokes(sketch, DEFAULTS)) == 1


def test_the_missing_piece_is_as_dark_as_its_ends() -> None:
    sketch = two_strokes(6)
    sketch[sketch == 0] = 140
    even = even_strokes(sketch, DEFAULTS)
    assert (even[40, 20:100] == 140).all()


def test_dashes_become_one_stroke_at_any_resolution() -> None:
    dashes = page(40, 200)
    for start in range(10, 180, 24):
        dashes[18:21, start : start + 17] = 0
    assert parts(dashes) == 8
    for scale in (1, 2, 4):
        large = cv2.resize(dashes, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        even = even_strokes(np.asarray(large, np.uint8), DEFAULTS)
        assert parts(even) == 1
        assert ink_across(even, 100 * scale) == pytest.approx(3 * scale, rel=0.1)


# ---- any picture ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (5, 3), (64, 300)])
def test_any_size_is_taken_and_blank_pages_stay_blank_and_black_ones_black(size: tuple[int, int]) -> None:
    for level in (255, 0):
        flat = np.full(size, level, np.uint8)
        np.testing.assert_array_equal(even_strokes(flat, DEFAULTS), flat)
    noise = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    before = noise.copy()
    even = even_strokes(noise, DEFAULTS)
    assert (even.shape, even.dtype) == (size, np.dtype(np.uint8))
    np.testing.assert_array_equal(noise, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [("threshold", 0), ("threshold", 256), ("gap", -1.0), ("angle", 90.0), ("width", 0.5), ("widest", 0.5)],
)
def test_impossible_settings_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        StrokeSettings(**{name: value})
