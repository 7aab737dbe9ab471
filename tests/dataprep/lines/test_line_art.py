"""Line art as it comes: every way of handing in a drawing gives that drawing."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.extractors.line_art import WAYS, on_nothing, on_paper, photographed, png
from dataprep.lines.ink_polarity import Polarity
from dataprep.lines.line_art import LineArtSettings, read_line_art
from dataprep.pictures.assembled import coloring, line_art, shipped_templates
from dataprep.pictures.decode import UnreadablePicture, decode_rgba

SIZE = 192
EXACT = ("black on white", "white on black", "black on nothing", "white on nothing", "16 bits")
AWAY = {"1 bit": 6.0, "pencil": 3.0, "photographed": 7.0, "a cut-out": 1.5, "palette": 6.0}  # mean levels of 255


def drawing(number: int = 6) -> np.ndarray:
    """A shipped drawing, black on white."""
    return line_art(coloring(list(shipped_templates().values())[number], 0, 0), SIZE)


def opaque(rgb: np.ndarray) -> np.ndarray:
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])


def away(gray: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(gray.astype(int) - other).mean())


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("number", [6, 120])
def test_a_drawing_is_read_as_it_was_drawn_however_it_is_handed_in(name: str, number: int) -> None:
    gray = drawing(number)
    read = read_line_art(WAYS[name](gray))
    assert read.polarity == ("light" if name.startswith(("white", "blueprint")) else "dark")
    assert read.gray.shape == gray.shape
    assert read.lines.shape == (*gray.shape, 4)
    assert away(read.gray, gray) <= (0 if name in EXACT else AWAY.get(name, 0.5))


def test_every_ink_level_of_clean_black_on_white_is_untouched() -> None:
    gray = np.full((80, 300), 255, np.uint8)
    gray[20:30, 20:276] = np.arange(256)
    gray[50:60, 20:276] = 0
    np.testing.assert_array_equal(read_line_art(png(gray)).gray, gray)


def test_lines_on_nothing_keep_every_pixel_of_the_artist() -> None:
    rng = np.random.default_rng(0)
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[::9] = np.concatenate([rng.integers(0, 120, (8, 64, 3)), rng.integers(1, 256, (8, 64, 1))], axis=2)
    read = read_line_art(png(pixels))
    np.testing.assert_array_equal(read.lines, pixels)


@pytest.mark.parametrize("name", ["black on white", "white on black", "a cut-out", "red on cream", "blueprint"])
def test_lines_lifted_off_their_paper_give_the_page_back_when_laid_over_it(name: str) -> None:
    data = WAYS[name](drawing())
    given, read = decode_rgba(data), read_line_art(data)
    paper = given[0, 0, :3] if name != "a cut-out" else np.array([255, 255, 255])
    share, seen = read.lines[..., 3:] / 255, given[..., 3:] / 255
    page = given[..., :3] * seen + paper * (1 - seen)
    np.testing.assert_allclose(read.lines[..., :3] * share + paper * (1 - share), page, atol=1.5)
    full = read.lines[..., 3] == 255
    assert full.mean() > 0.01
    np.testing.assert_array_equal(read.lines[full, :3], np.rint(page[full]))


def test_soft_edges_of_lifted_lines_keep_no_rim_of_paper() -> None:
    lines = read_line_art(WAYS["black on white"](drawing())).lines
    soft = (lines[..., 3] > 16) & (lines[..., 3] < 240)
    assert soft.any()
    assert lines[soft, :3].max() <= 1


def test_ink_is_distance_from_the_paper_in_colour_and_not_in_luma() -> None:
    page = np.full((60, 60, 3), (255, 0, 0), np.uint8)
    page[30] = (0, 76, 0)  # the luma of that red
    assert 29 < 0.299 * 255 <= 76.5
    gray = read_line_art(png(page)).gray
    assert (gray[30] == 0).all()
    assert (np.delete(gray, 30, axis=0) == 255).all()


def test_faint_pencil_reaches_black_and_its_grain_does_not() -> None:
    grain = np.random.default_rng(3).normal(0, 2.5, (128, 128))
    page = np.full((128, 128), 228.0) + grain
    page[40:44, 10:118] -= 70
    gray = read_line_art(png(np.clip(np.rint(page), 0, 255).astype(np.uint8))).gray
    assert np.median(gray[41:43, 10:118]) < 30
    assert (np.delete(gray, np.s_[39:45], axis=0) == 255).mean() > 0.99


def test_uneven_light_is_taken_for_paper_and_solid_black_is_not() -> None:
    gray = drawing().copy()
    gray[120:180, 20:150] = 0
    read = read_line_art(photographed(gray)).gray
    assert read[130:170, 30:140].max() < 40
    corners = np.concatenate([read[:15, :15], read[:15, -15:], read[-8:, -8:]], axis=None)
    assert corners.min() > 235


@pytest.mark.parametrize("level", [0, 90, 128, 200, 255])
def test_an_empty_page_of_any_tone_is_white_paper(level: int) -> None:
    grain = np.random.default_rng(0).integers(0, 4, (64, 64))
    page = np.clip(level + grain, 0, 255).astype(np.uint8)
    assert (read_line_art(png(page)).gray == 255).all()


@pytest.mark.parametrize("settings", [LineArtSettings(), LineArtSettings("dark"), LineArtSettings("light")])
def test_a_wholly_transparent_picture_is_an_empty_page(settings: LineArtSettings) -> None:
    read = read_line_art(png(np.zeros((20, 30, 4), np.uint8)), settings)
    assert (read.gray == 255).all()
    assert (read.lines[..., 3] == 0).all()


@pytest.mark.parametrize(("paper", "polarity"), [(255, "dark"), (0, "light")])
def test_a_nearly_empty_page_shows_its_few_strokes_on_white(paper: int, polarity: str) -> None:
    page = np.full((400, 400), paper, np.uint8)
    page[200:203, 180:220] = 255 - paper
    read = read_line_art(png(page))
    assert read.polarity == polarity
    assert (read.gray[200:203, 180:220] == 0).all()
    assert (read.gray == 255).sum() == 400 * 400 - 120


def test_a_polarity_that_is_set_is_kept() -> None:
    page = np.full((40, 40), 255, np.uint8)
    page[10:30, 10:30] = 0
    assert read_line_art(png(page), LineArtSettings(polarity="dark")).gray[20, 20] == 0
    turned = read_line_art(png(page), LineArtSettings(polarity="light"))
    assert (turned.polarity, turned.gray[20, 20], turned.gray[0, 0]) == ("light", 255, 0)


def test_without_levels_the_luma_stays_as_it_is() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    cases: list[tuple[Polarity, np.ndarray]] = [("dark", luma), ("light", 255 - luma)]
    for polarity, expected in cases:
        read = read_line_art(png(rgb), LineArtSettings(polarity, levels=False))
        np.testing.assert_allclose(read.gray, expected, atol=1)


def test_grey_levels_of_a_16_bit_file_are_not_clipped() -> None:
    page = np.full((40, 40), 65535, np.uint16)
    page[20], page[30] = 0, 32768
    gray = read_line_art(png(page)).gray
    assert gray[20].max() == 0
    assert (gray[30] == 128).all()


def test_a_drawing_is_read_upright_where_its_file_says_how_it_was_held() -> None:
    page = np.full((40, 60), 255, np.uint8)
    page[5] = 0
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    out = io.BytesIO()
    Image.fromarray(page).save(out, "PNG", exif=exif)
    gray = read_line_art(out.getvalue()).gray
    assert gray.shape == (60, 40)
    assert (gray[:, 34] == 0).all()


def test_the_artists_own_size_is_kept_and_large_pages_agree_with_small_ones() -> None:
    small = drawing()
    large = np.kron(small, np.ones((4, 4), np.uint8))
    read = read_line_art(png(on_paper(large, (40, 40, 60), (220, 210, 190))))
    assert read.gray.shape == large.shape
    np.testing.assert_array_equal(
        read.gray[::4, ::4], read_line_art(png(on_paper(small, (40, 40, 60), (220, 210, 190)))).gray
    )


def test_what_is_no_picture_and_impossible_settings_are_refused() -> None:
    with pytest.raises(UnreadablePicture, match="a text, not a picture"):
        read_line_art(b"no picture")
    with pytest.raises(UnreadablePicture, match="allowed"):
        read_line_art(on_nothing(drawing(), (0, 0, 0)), max_pixels=100)
    with pytest.raises(ValueError, match="polarity"):
        LineArtSettings(polarity="grey")  # type: ignore[arg-type]
