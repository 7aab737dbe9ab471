"""Pictures from strangers on the whole path: scanned to a row with the right pixels, or to a reject that says why.

All of them lie in one folder and go through one build. What a row must show is known by construction: the test drew it.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataprep.corpus.reader import CorpusReader
from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.pictures.decode import decode_png
from dataprep.pictures.identity import content_id
from dataprep.plan.filters import FilterSettings
from pipelines.corpus_build.build import BuildReport, run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import picture
from tests.exif_orientation import STORED

# Everything that can be a row becomes one, down to a single pixel, so that every operator meets it.
OPEN = FilterSettings(min_side=1, max_aspect=100_000, min_contrast=0, phash_distance=0)
RECIPE = replace(BuildRecipe(), filters=OPEN, shard_rows=64, validation_share=0.0)
HEIGHT, WIDTH = 48, 64


@dataclass(frozen=True)
class Case:
    """A file, and what becomes of it: pixels (within a tolerance), perhaps alpha, or part of the reject's message."""

    data: bytes
    rgb: np.ndarray | None = None
    alpha: np.ndarray | None = None
    within: float = 0
    refused: str = ""
    suffix: str = "png"


CASES: dict[str, Case] = {}


def case(make: Callable[[np.ndarray], Case]) -> None:
    """Register the case that `make` gives for a picture of its own, (48, 64, 3)."""
    name = make.__name__
    CASES[name] = make(picture(zlib.crc32(name.encode())))


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(header: tuple[int, int, int, int], pixels: bytes, *more: bytes) -> bytes:
    """A PNG from (width, height, bits, colour type) and the bytes to deflate; `more` chunks stand before the pixels."""
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)), *more]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")])


def rows_of(array: np.ndarray) -> bytes:
    """The scan lines of a PNG, without a filter."""
    return b"".join(b"\0" + row.tobytes() for row in array)


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    weight = alpha[..., None] / 255.0
    return np.asarray(np.rint(rgb * weight + 255 * (1 - weight)), np.uint8)


def smooth(rgb: np.ndarray) -> np.ndarray:
    """Without edges, so that JPEG keeps it within a few levels."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 6), np.uint8)


def disc() -> np.ndarray:
    """An alpha channel, 0 to 255, with a soft edge."""
    away = np.hypot(*(np.indices((HEIGHT, WIDTH)) - np.array([HEIGHT / 2, WIDTH / 2])[:, None, None]))
    return np.asarray(np.clip((20 - away) * 60, 0, 255), np.uint8)


# ---- colours --------------------------------------------------------------------------------------------------------


def separated(rgb: np.ndarray) -> np.ndarray:
    """CMYK without black, uint8 (H, W, 4), ink = 255."""
    return np.dstack([255 - rgb, np.zeros(rgb.shape[:2], np.uint8)])


def stored_cmyk(stored: np.ndarray) -> bytes:
    """A JPEG with an Adobe marker whose four components decode to `stored`; Pillow stores 255 - ink."""
    return encoded(Image.fromarray(255 - stored, "CMYK"), "JPEG", quality=100, subsampling=0)


def adobe_marker(data: bytes) -> tuple[int, int]:
    """(start, end) of the APP14 segment."""
    start = data.index(b"\xff\xee\x00\x0eAdobe")
    return start, start + 16


@case
def cmyk_jpeg_as_adobe_writes_it(rgb: np.ndarray) -> Case:
    return Case(stored_cmyk(255 - separated(smooth(rgb))), smooth(rgb), within=4, suffix="jpg")


@case
def cmyk_jpeg_without_the_adobe_marker_is_not_inverted(rgb: np.ndarray) -> Case:
    data = stored_cmyk(separated(smooth(rgb)))
    start, end = adobe_marker(data)
    return Case(data[:start] + data[end:], smooth(rgb), within=4, suffix="jpg")


@case
def ycck_jpeg(rgb: np.ndarray) -> Case:
    """Luma and chroma of the inverted inks, as Photoshop writes CMYK; the marker's last byte says so."""
    ycc = cv2.cvtColor(255 - smooth(rgb), cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    data = bytearray(stored_cmyk(np.dstack([ycc, np.full(rgb.shape[:2], 255, np.uint8)])))
    data[adobe_marker(bytes(data))[1] - 1] = 2
    return Case(bytes(data), smooth(rgb), within=6, suffix="jpg")


@case
def gray_jpeg(rgb: np.ndarray) -> Case:
    gray = smooth(rgb)[..., 1]
    return Case(encoded(gray, "JPEG", quality=98), np.dstack([gray] * 3), within=3, suffix="jpg")


@case
def sixteen_bit_gray(rgb: np.ndarray) -> Case:
    wide = rgb[..., 0].astype(">u2") * 257
    return Case(png((WIDTH, HEIGHT, 16, 0), rows_of(wide)), np.dstack([rgb[..., 0]] * 3))


@case
def sixteen_bit_rgb(rgb: np.ndarray) -> Case:
    noise = np.random.default_rng(1).integers(-100, 100, rgb.shape)
    wide = np.clip(rgb.astype(np.int64) * 257 + noise, 0, 65_535).astype(">u2")
    return Case(png((WIDTH, HEIGHT, 16, 2), rows_of(wide)), rgb, within=1)


@case
def sixteen_bit_rgba(rgb: np.ndarray) -> Case:
    wide = np.dstack([rgb, disc()]).astype(">u2") * 257
    return Case(png((WIDTH, HEIGHT, 16, 6), rows_of(wide)), over_white(rgb, disc()), disc(), within=1)


@case
def one_bit(rgb: np.ndarray) -> Case:
    lines = rgb[..., 0] > 127
    return Case(encoded(Image.fromarray(lines)), np.dstack([np.uint8(255) * lines] * 3))


@case
def gray_with_a_transparent_level(rgb: np.ndarray) -> Case:
    gray = rgb[..., 0]
    level = int(gray[0, 0])
    alpha = np.where(gray == level, 0, 255).astype(np.uint8)
    data = png((WIDTH, HEIGHT, 8, 0), rows_of(gray), chunk(b"tRNS", struct.pack(">H", level)))
    return Case(data, over_white(np.dstack([gray] * 3), alpha), alpha)


@case
def rgb_with_a_transparent_colour(rgb: np.ndarray) -> Case:
    alpha = np.where((rgb == rgb[0, 0]).all(axis=2), 0, 255).astype(np.uint8)
    data = png((WIDTH, HEIGHT, 8, 2), rows_of(rgb), chunk(b"tRNS", struct.pack(">HHH", *rgb[0, 0].tolist())))
    return Case(data, over_white(rgb, alpha), alpha)


@case
def palette_with_half_transparent_entries(rgb: np.ndarray) -> Case:
    places = (rgb[..., 0] // 64).astype(np.uint8)
    colors = np.array([[10, 20, 30], [200, 0, 0], [0, 150, 0], [9, 9, 255]], np.uint8)
    alphas = np.array([0, 85, 170, 255], np.uint8)
    more = (chunk(b"PLTE", colors.tobytes()), chunk(b"tRNS", alphas.tobytes()))
    data = png((WIDTH, HEIGHT, 8, 3), rows_of(places), *more)
    return Case(data, over_white(colors[places], alphas[places]), alphas[places])


@case
def gray_with_alpha(rgb: np.ndarray) -> Case:
    data = png((WIDTH, HEIGHT, 8, 4), rows_of(np.dstack([rgb[..., 0], disc()])))
    return Case(data, over_white(np.dstack([rgb[..., 0]] * 3), disc()), disc())


@case
def black_line_art_on_nothing(rgb: np.ndarray) -> Case:
    ink = cv2.Canny(rgb, 50, 100)
    return Case(encoded(np.dstack([np.zeros_like(rgb), ink])), np.dstack([255 - ink] * 3), ink)


@case
def black_line_art_on_nothing_as_webp(rgb: np.ndarray) -> Case:
    ink = cv2.Canny(rgb, 50, 100)
    data = encoded(np.dstack([np.zeros_like(rgb), ink]), "WEBP", lossless=True, exact=True)
    return Case(data, np.dstack([255 - ink] * 3), ink, suffix="webp")


# ---- frames and turns -----------------------------------------------------------------------------------------------


def animated(rgb: np.ndarray, kind: str, **options: object) -> bytes:
    frames = [Image.fromarray(array) for array in (rgb, 255 - rgb, rgb[::-1].copy())]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)


@case
def animated_gif_shows_its_first_frame(rgb: np.ndarray) -> Case:
    few = np.asarray(np.where(rgb > 127, 255, 0), np.uint8)  # at most eight colours: GIF keeps them
    return Case(animated(few, "GIF"), few, suffix="gif")


@case
def animated_webp_shows_its_first_frame(rgb: np.ndarray) -> Case:
    return Case(animated(rgb, "WEBP", lossless=True), rgb, suffix="webp")


@case
def animated_png_shows_its_first_frame(rgb: np.ndarray) -> Case:
    return Case(animated(rgb, "PNG"), rgb)


for orientation, stored_as in STORED.items():
    shown = smooth(picture(100 + orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = np.ascontiguousarray(stored_as(shown))
    CASES[f"exif_{orientation}_jpeg"] = Case(
        encoded(turned, "JPEG", exif=exif, quality=98, subsampling=0), shown, within=4, suffix="jpg"
    )
    CASES[f"exif_{orientation}_png"] = Case(encoded(255 - turned, "PNG", exif=exif), 255 - shown)
    CASES[f"exif_{orientation}_webp"] = Case(
        encoded(turned[..., ::-1].copy(), "WEBP", exif=exif, lossless=True), shown[..., ::-1], suffix="webp"
    )


# ---- names and profiles ---------------------------------------------------------------------------------------------


@case
def a_png_that_is_called_jpg(rgb: np.ndarray) -> Case:
    return Case(encoded(rgb), rgb, suffix="jpg")


@case
def a_jpeg_that_is_called_png(rgb: np.ndarray) -> Case:
    return Case(encoded(smooth(rgb), "JPEG", quality=98), smooth(rgb), within=4)


@case
def a_page_that_is_called_png(rgb: np.ndarray) -> Case:
    return Case(b"<!doctype html><title>404</title>", refused="an HTML page, not a picture")


@case
def a_zip_that_is_called_jpg(rgb: np.ndarray) -> Case:
    return Case(b"PK\x03\x04" + bytes(100), refused="a zip archive, not a picture", suffix="jpg")


@case
def a_jpeg_with_a_broken_profile(rgb: np.ndarray) -> Case:
    return Case(
        encoded(smooth(rgb), "JPEG", quality=98, icc_profile=b"rubbish" * 40), smooth(rgb), within=4, suffix="jpg"
    )


@case
def a_png_with_a_broken_profile(rgb: np.ndarray) -> Case:
    return Case(encoded(rgb, icc_profile=b"rubbish" * 40), rgb)


@case
def a_png_whose_profile_cannot_be_inflated(rgb: np.ndarray) -> Case:
    broken = chunk(b"iCCP", b"name\0\0" + b"\xff" * 20)
    return Case(png((WIDTH, HEIGHT, 8, 2), rows_of(rgb), broken), rgb)


# ---- sizes ----------------------------------------------------------------------------------------------------------


@case
def one_pixel(rgb: np.ndarray) -> Case:
    return Case(encoded(rgb[:1, :1].copy()), rgb[:1, :1])


@case
def one_pixel_wide(rgb: np.ndarray) -> Case:
    return Case(encoded(rgb[:, :1].copy()), rgb[:, :1])


@case
def thirty_thousand_pixels_wide(rgb: np.ndarray) -> Case:
    wide = np.tile(rgb[:8], (1, 30_000 // WIDTH + 1, 1))[:, :30_000]
    return Case(encoded(np.ascontiguousarray(wide)), wide)


@case
def thirty_thousand_pixels_square(rgb: np.ndarray) -> Case:
    return Case(png((30_000, 30_000, 8, 2), b""), refused="pixels")


@case
def a_header_of_four_gigapixels_as_jpeg(rgb: np.ndarray) -> Case:
    data = bytearray(encoded(rgb, "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    return Case(bytes(data), refused="pixels", suffix="jpg")


@case
def a_header_of_four_gigapixels_as_gif(rgb: np.ndarray) -> Case:
    data = bytearray(encoded(rgb, "GIF"))
    data[6:10] = b"\xff\xff\xff\xff"
    return Case(bytes(data), refused="pixels", suffix="gif")


@case
def a_header_of_two_gigapixels_as_bmp(rgb: np.ndarray) -> Case:
    data = bytearray(encoded(rgb, "BMP"))
    data[18:26] = struct.pack("<ii", 65_536, -32_768)
    return Case(bytes(data), refused="pixels", suffix="bmp")


@case
def a_side_of_nothing(rgb: np.ndarray) -> Case:
    return Case(png((0, 10, 8, 2), b""), refused="picture")


@case
def pixels_that_inflate_to_far_more_than_the_header_says(rgb: np.ndarray) -> Case:
    return Case(png((WIDTH, HEIGHT, 8, 2), rows_of(rgb) + bytes(64 << 20)), rgb)


@case
def a_text_that_inflates_to_sixty_four_megabytes(rgb: np.ndarray) -> Case:
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 << 20)))
    return Case(png((WIDTH, HEIGHT, 8, 2), rows_of(rgb), bomb), rgb)


# ---- nothing, or not enough -----------------------------------------------------------------------------------------

CASES["empty"] = Case(b"", refused="empty")
for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("BMP", "bmp"), ("GIF", "gif")):
    for share in (0.02, 0.3, 0.9):
        whole = encoded(picture(500 + len(CASES)), kind)
        CASES[f"the_first_{share:.0%}_of_a_{suffix}"] = Case(
            whole[: int(len(whole) * share)], refused="p", suffix=suffix
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[BuildReport, Path, str]:
    folder, out = tmp_path_factory.mktemp("hostile"), str(tmp_path_factory.mktemp("out"))
    for name, one in CASES.items():
        (folder / f"{name}.{one.suffix}").write_bytes(one.data)
    return run_build([str(folder)], out, RECIPE, engine=in_process), folder, out


def test_each_file_is_a_row_or_a_reject_and_no_operator_failed(built: tuple[BuildReport, Path, str]) -> None:
    report, _, out = built
    rows = sum(one.rgb is not None for one in CASES.values())
    assert report.pictures == len(CASES)
    assert (sum(report.rows.values()), sum(report.rejects.values())) == (rows, len(CASES) - rows)
    assert dict(report.rejects) == {"unreadable": len(CASES) - rows}
    assert report.failures == {}
    assert verify(out) == []


@pytest.mark.parametrize("name", [name for name, one in CASES.items() if one.rgb is not None])
def test_a_row_shows_what_was_drawn(built: tuple[BuildReport, Path, str], name: str) -> None:
    one = CASES[name]
    assert one.rgb is not None
    reader = CorpusReader(built[2], "train", ["color", "mask", "sketch_xdog", "region_map"])
    row = reader.row(reader.ids.index(content_id(one.data)))
    shown = np.asarray(Image.open(io.BytesIO(row["color"])).convert("RGB"))
    assert shown.shape == one.rgb.shape == (row["height"], row["width"], 3)
    assert np.abs(shown.astype(int) - one.rgb).max() <= one.within
    assert (row["mask"] is None) == (one.alpha is None)
    if one.alpha is not None:
        np.testing.assert_array_equal(decode_png(row["mask"]), one.alpha)
    for column in ("sketch_xdog", "region_map"):
        assert decode_png(row[column]).shape == one.rgb.shape[:2]


@pytest.mark.parametrize("name", [name for name, one in CASES.items() if one.rgb is None])
def test_a_reject_says_why(built: tuple[BuildReport, Path, str], name: str) -> None:
    rejects = {Path(row["source"]).stem: row for row in open_snapshot(built[2]).table("rejects").to_pylist()}
    assert rejects[name]["id"] == content_id(CASES[name].data)
    assert CASES[name].refused in rejects[name]["message"]
    assert len(rejects[name]["message"].splitlines()) == 1
