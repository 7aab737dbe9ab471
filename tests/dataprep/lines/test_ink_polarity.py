"""Polarity on what ships and, where they are beside the checkout, on lines of the storybook pictures."""

import cv2
import numpy as np
import pytest

from benchmarks.extractors.line_art import polarity_errors, shipped_line_art
from benchmarks.measuring import DEFAULT_PICTURES
from dataprep.lines.ink_polarity import find_polarity, tones_of
from dataprep.lines.xdog import COMMON, XDoGSettings, xdog
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import decode


def polarity(gray: np.ndarray, alpha: np.ndarray | None = None) -> str:
    return find_polarity(tones_of(np.dstack([gray, gray, gray, np.full_like(gray, 255) if alpha is None else alpha])))


@pytest.mark.seconds
def test_no_shipped_line_art_and_no_negative_of_one_is_turned_around() -> None:
    assert polarity_errors(list(shipped_line_art())[::3]) == (0.0, 0.0)


@pytest.mark.seconds
def test_extracted_lines_of_real_pictures_and_their_negatives_keep_their_polarity() -> None:
    files = sorted(DEFAULT_PICTURES.glob("images/*.jpg"))[::25]
    if not files:
        pytest.skip(f"no pictures in {DEFAULT_PICTURES}")
    pictures = [gray_of(decode(file.read_bytes())) for file in files]
    pages = [xdog(gray, settings) for gray in pictures for settings in (XDoGSettings(), COMMON[0.4])]
    wrongly, missed = polarity_errors(pages)
    assert wrongly == 0
    assert missed <= 0.02


def test_a_drawing_whose_page_is_mostly_solid_black_is_not_turned_around() -> None:
    page = np.zeros((300, 300), np.uint8)  # a face in the dark: 70 % of the page is black
    cv2.circle(page, (150, 150), 90, 255, -1)
    cv2.circle(page, (120, 140), 12, 0, 2)
    cv2.circle(page, (180, 140), 12, 0, 2)
    assert (page == 0).mean() > 0.7
    assert polarity(page) == "dark"


def test_light_lines_on_a_cut_out_of_dark_card_are_light_lines() -> None:
    page, alpha = np.full((300, 300), 20, np.uint8), np.zeros((300, 300), np.uint8)
    cv2.circle(alpha, (150, 150), 130, 255, -1)
    cv2.circle(page, (150, 150), 70, 240, 3)
    assert polarity(page, alpha) == "light"
    assert polarity(255 - page, alpha) == "dark"


def test_a_solid_black_patch_among_grey_lines_on_nothing_is_no_paper() -> None:
    page, alpha = np.full((300, 300), 150, np.uint8), np.zeros((300, 300), np.uint8)
    cv2.circle(alpha, (150, 150), 110, 255, 2)
    alpha[130:190, 120:180], page[130:190, 120:180] = 255, 0
    assert polarity(page, alpha) == "dark"
