"""A picture in colours and an empty page are told from line art, however that is drawn."""

import numpy as np
import pytest

from dataprep.lines.line_art import LineArtSettings, line_art_of
from dataprep.lines.sketch_check import is_coloured, is_empty
from dataprep.pictures.assembled import coloring, line_art, render, shipped_templates

DRAWINGS = [coloring(template, 0, 0) for template in list(shipped_templates().values())[:200:25]]
INKS = [((255, 255, 255), (0, 0, 0)), ((250, 240, 200), (40, 80, 220)), ((20, 40, 120), (240, 240, 255))]


def drawn(gray: np.ndarray, paper: tuple[int, ...], ink: tuple[int, ...]) -> np.ndarray:
    """uint8 (H, W, 4) of black lines on white, in other colours."""
    share = (255 - gray[..., None]) / 255
    rgb = np.array(paper) * (1 - share) + np.array(ink) * share
    return np.dstack([rgb.astype(np.uint8), np.full_like(gray, 255)])


def test_flat_colour_is_found() -> None:
    for drawing in DRAWINGS:
        rgb = render(drawing, 256)
        assert is_coloured(np.dstack([rgb, np.full_like(rgb[..., 0], 255)]))


@pytest.mark.parametrize(("paper", "ink"), INKS)
def test_lines_of_any_colour_on_any_paper_are_no_colour_picture(paper: tuple[int, ...], ink: tuple[int, ...]) -> None:
    for drawing in DRAWINGS:
        page = drawn(line_art(drawing, 512), paper, ink)
        assert not is_coloured(page)
        read = line_art_of(page, LineArtSettings())
        assert not read.coloured
        assert not is_empty(read.gray)


@pytest.mark.parametrize("level", [0, 128, 250, 255])
def test_a_page_of_one_tone_is_empty(level: int) -> None:
    page = np.full((80, 60, 4), (level, level, level, 255), np.uint8)
    assert is_empty(line_art_of(page, LineArtSettings()).gray)
    assert not is_coloured(page)


def test_a_transparent_page_is_empty() -> None:
    page = np.zeros((80, 60, 4), np.uint8)
    assert is_empty(line_art_of(page, LineArtSettings()).gray)
    assert not is_coloured(page)
