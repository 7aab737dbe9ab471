"""Small colour on a large page ends at the page's lines: against the exact colours of an assembled drawing."""

import cv2
import numpy as np
import pytest

from dataprep.lines import enlarge_color as module
from dataprep.lines.enlarge_color import enlarge_color
from dataprep.pictures.assembled import coloring, line_art, render, shipped_templates
from dataprep.pictures.resize import resize_color

SIZE, SMALL = 480, 48
DRAWING = coloring(next(iter(shipped_templates().values())), 0, 0)


def halves(width: int, height: int) -> np.ndarray:
    """Red on the left, blue on the right."""
    color = np.zeros((height, width, 3), np.uint8)
    color[:, : width // 2] = (220, 30, 30)
    color[:, width // 2 :] = (30, 30, 220)
    return color


def test_colour_of_a_tenth_of_the_size_comes_near_the_exact_drawing() -> None:
    exact, gray = render(DRAWING, SIZE), line_art(DRAWING, SIZE)
    small = np.asarray(cv2.resize(exact, (SMALL, SMALL), interpolation=cv2.INTER_AREA), np.uint8)
    free = gray == 255
    wrong = [
        np.abs(made.astype(int) - exact)[free].mean()
        for made in (enlarge_color(small, gray), resize_color(small, SIZE, SIZE))
    ]
    assert wrong[0] < wrong[1] / 3


def test_colour_changes_at_the_line_and_not_beside_it() -> None:
    gray = np.full((200, 300), 255, np.uint8)
    gray[:, 149:152] = 0
    color = np.asarray(cv2.resize(halves(300, 200), (30, 20), interpolation=cv2.INTER_AREA), np.uint8)
    made = enlarge_color(color, gray).astype(int)
    np.testing.assert_allclose(made[:, :148], np.full((200, 148, 3), (220, 30, 30)), atol=4)
    np.testing.assert_allclose(made[:, 153:], np.full((200, 147, 3), (30, 30, 220)), atol=4)


def test_far_from_lines_and_where_nothing_grows_the_colour_is_what_it_was() -> None:
    color = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    empty, smaller = np.full((240, 320), 255, np.uint8), np.full((30, 40), 255, np.uint8)
    np.testing.assert_array_equal(enlarge_color(color, empty), resize_color(color, 320, 240))
    np.testing.assert_array_equal(enlarge_color(color, smaller), resize_color(color, 40, 30))


@pytest.mark.parametrize("shape", [(64, 64), (1, 200), (200, 1)])
def test_a_page_of_ink_alone_and_a_page_of_one_row_have_a_colour(shape: tuple[int, int]) -> None:
    made = enlarge_color(np.full((4, 4, 3), 90, np.uint8), np.zeros(shape, np.uint8))
    assert made.shape == (*shape, 3)
    assert (made == 90).all()


def test_a_page_larger_than_the_working_side_is_filled_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gray = line_art(DRAWING, SIZE)
    small = np.asarray(cv2.resize(render(DRAWING, SIZE), (SMALL, SMALL), interpolation=cv2.INTER_AREA), np.uint8)
    whole = enlarge_color(small, gray)
    monkeypatch.setattr(module, "WORKING_SIDE", SIZE // 2)
    made = enlarge_color(small, gray)
    assert made.shape == whole.shape
    assert np.abs(made.astype(int) - whole)[gray == 255].mean() < 2
