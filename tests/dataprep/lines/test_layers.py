"""Colour, the artist's lines and the mask, at the artist's size."""

import cv2
import numpy as np
import pytest

from benchmarks.extractors.line_art import on_nothing, png
from dataprep.lines.layers import at_size, keep_lines, layers, line_art_mask, with_line_color
from dataprep.lines.line_art import read_line_art
from dataprep.pictures.assembled import coloring, line_art, mask, shipped_templates

SIZE = 192


def outline(gap: int = 0, size: int = 200) -> np.ndarray:
    """A ring of radius 60, open by `gap` pixels at its right side."""
    page = np.full((size, size), 255, np.uint8)
    cv2.circle(page, (100, 100), 60, 0, 3)
    page[100 - gap // 2 : 100 - gap // 2 + gap, 100:] = 255
    return page


def test_opaque_pixels_of_the_artists_lines_are_in_the_result_to_the_bit() -> None:
    gray = line_art(coloring(next(iter(shipped_templates().values())), 0, 0), SIZE)
    art = read_line_art(on_nothing(gray, (31, 66, 99)))
    color = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    kept = keep_lines(at_size(color, art, "lines"), art)
    assert kept.shape == (SIZE, SIZE, 3)
    full = art.lines[..., 3] == 255
    assert (kept[full] == (31, 66, 99)).all()


def test_between_the_lines_the_result_is_the_colour_and_soft_edges_mix_both() -> None:
    gray = line_art(coloring(next(iter(shipped_templates().values())), 0, 0), SIZE)
    art = read_line_art(png(gray))
    color = np.full((SIZE, SIZE, 3), (200, 120, 40), np.uint8)
    np.testing.assert_allclose(keep_lines(color, art), color * (gray[..., None] / 255), atol=1)


def test_layers_are_of_the_artists_size_and_give_the_kept_lines_when_put_together() -> None:
    art = read_line_art(png(outline()))
    color = np.random.default_rng(1).integers(0, 256, (50, 50, 3)).astype(np.uint8)
    color = at_size(color, art, "smooth")
    made = layers(color, art)
    assert {name: layer.shape for name, layer in made.items()} == {
        "color": (200, 200, 3), "lines": (200, 200, 4), "mask": (200, 200)
    }  # fmt: skip
    share = made["lines"][..., 3:] / 255
    together = made["lines"][..., :3] * share + made["color"] * (1 - share)
    np.testing.assert_allclose(keep_lines(color, art), together, atol=0.51)
    assert made["lines"] is art.lines


def test_the_mask_holds_what_an_outline_encloses_and_the_outline() -> None:
    y, x = np.mgrid[:200, :200]
    away = np.hypot(x - 100, y - 100)
    found = line_art_mask(outline())
    assert (found[away < 61] == 255).all()
    assert (found[away > 63] == 0).all()


@pytest.mark.parametrize(("gap", "inside"), [(2, 255), (12, 0)])
def test_small_gaps_let_no_paper_in_and_large_ones_do(gap: int, inside: int) -> None:
    assert line_art_mask(outline(gap), gap=1 / 12)[100, 100] == 255
    assert line_art_mask(outline(gap), gap=1 / 50)[100, 100] == inside


def test_paper_comes_up_to_the_lines_in_corners_where_no_ball_fits() -> None:
    page = np.full((100, 100), 255, np.uint8)
    page[40:60, 30:70] = 0
    np.testing.assert_array_equal(line_art_mask(page, gap=1 / 10), 255 - page)


def test_a_figure_that_one_side_of_the_page_cuts_off_belongs_to_the_drawing() -> None:
    page = np.full((200, 200), 255, np.uint8)
    cv2.ellipse(page, (100, 210), (60, 120), 0, 0, 360, 0, 3)
    found = line_art_mask(page)
    assert found[195, 100] == 255
    assert found[10, 100] == found[195, 5] == found[195, 195] == 0


@pytest.mark.parametrize(("level", "expected"), [(255, 0), (0, 255)])
def test_an_empty_page_has_no_drawing_and_a_black_one_is_all_drawing(level: int, expected: int) -> None:
    assert (line_art_mask(np.full((30, 40), level, np.uint8)) == expected).all()


def test_masks_of_shipped_drawings_agree_with_their_own() -> None:
    overlaps = []
    for template in list(shipped_templates().values())[::8]:
        drawn = coloring(template, 0, 0)
        found, own = line_art_mask(line_art(drawn, SIZE)) > 0, mask(drawn, SIZE) >= 128
        overlaps.append((found & own).sum() / (found | own).sum())
    assert np.median(overlaps) > 0.98
    assert np.mean(overlaps) > 0.9


def test_lines_are_laid_over_in_black_or_white_and_as_opaque_as_they_were() -> None:
    art = read_line_art(png(255 - outline()))  # light lines on dark
    color = np.full((200, 200, 3), 240, np.uint8)
    assert with_line_color(art, "own") is art
    black, white = (with_line_color(art, name) for name in ("black", "white"))
    assert black.gray is white.gray is art.gray
    np.testing.assert_array_equal(black.lines[..., 3], art.lines[..., 3])
    inked = art.lines[..., 3] == 255
    assert inked.any()
    assert (keep_lines(color, black)[inked] == 0).all()
    assert (keep_lines(color, white)[inked] == 255).all()
