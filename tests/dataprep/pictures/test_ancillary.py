"""Pictures whose file is damaged beside the pixels are taken, and what was left out is noted."""

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from dataprep.pictures.ancillary import MOST_TEXTS, NOTES
from dataprep.pictures.decode import UnreadablePicture, decode, decode_rgba, measure

RGB = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8), (40, 24))
TWO_MEGABYTES = bytes(2 << 20)


def encoded(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if crc is None else crc
    return len(body).to_bytes(4, "big") + kind + body + crc.to_bytes(4, "big")


PNG = encoded(RGB, "PNG")


def png_with(*chunks: bytes, before: bytes = b"IDAT") -> bytes:
    at = PNG.index(before) - 4
    return PNG[:at] + b"".join(chunks) + PNG[at:]


TIME = bytes([7, 234, 11, 29, 1, 2, 3])
DAMAGED_CHUNKS = {
    "a text with a wrong checksum": (chunk(b"tEXt", b"a\0b", crc=1), "text"),
    "a time with a wrong checksum": (chunk(b"tIME", TIME, crc=1), "metadata"),
    "a text that inflates to 2 MB": (chunk(b"zTXt", b"a\0\0" + zlib.compress(TWO_MEGABYTES)), "text"),
    "an international text of 2 MB": (chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(TWO_MEGABYTES)), "text"),
    "a profile of 2 MB": (chunk(b"iCCP", b"a\0\0" + zlib.compress(TWO_MEGABYTES)), "colour profile"),
    "a profile without a name's end": (chunk(b"iCCP", b"abc"), "colour profile"),
    "a pixel size of the wrong length": (chunk(b"pHYs", b"\0" * 5), "metadata"),
    "chromaticities of the wrong length": (chunk(b"cHRM", b"\0" * 4), "metadata"),
    "a gamma of the wrong length": (chunk(b"gAMA", b"\0"), "metadata"),
    "EXIF that is none": (chunk(b"eXIf", b"no tiff at all"), "exif"),
    "EXIF that is cut": (chunk(b"eXIf", b"MM\0*\0\0"), "exif"),
    "EXIF as text that is no number": (chunk(b"tEXt", b"Raw profile type exif\0\nexif\n4\nzz"), "exif"),
    "EXIF as text that is no EXIF": (chunk(b"tEXt", b"Raw profile type exif\0\nexif\n4\n4a554e4b4a554e4b"), "exif"),
}


@pytest.mark.parametrize("name", DAMAGED_CHUNKS)
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"], ids=["before the pixels", "behind them"])
def test_a_png_with_a_damaged_chunk_is_its_pixels_and_a_note(name: str, before: bytes) -> None:
    damage, note = DAMAGED_CHUNKS[name]
    if (note, before) == ("colour profile", b"IEND"):
        pytest.skip("Pillow looks for a profile before the pixels only")
    data = png_with(damage, before=before)
    picture = decode(data)
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert measure(data) == (40, 24)
    if before == b"IEND" and "checksum" in name:
        return  # nobody reads so far
    assert picture.notes == (note,)
    assert not picture.source_is_plain_rgb, "its bytes must not be stored: other readers refuse them"


def test_every_note_is_of_the_vocabulary() -> None:
    assert {note for _, note in DAMAGED_CHUNKS.values()} <= set(NOTES)


def test_an_ordinary_picture_has_no_note_and_is_stored_as_it_is() -> None:
    for data in (PNG, png_with(chunk(b"tIME", TIME), chunk(b"tEXt", b"a\0b"))):
        assert decode(data).notes == ()
        assert decode(data).source_is_plain_rgb


@pytest.mark.seconds
def test_of_many_texts_some_are_left_out() -> None:
    megabyte = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20)))
    picture = decode(png_with(*[megabyte] * (MOST_TEXTS + 10)))
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert picture.notes == ("text",)


def test_what_is_left_out_does_not_take_the_orientation_with_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(RGB, "PNG", exif=exif)
    at = turned.index(b"IDAT") - 4
    data = turned[:at] + chunk(b"tIME", TIME, crc=1) + turned[at:]
    np.testing.assert_array_equal(decode(data).rgb, np.rot90(RGB, -1))
    assert measure(data) == (24, 40)


def test_transparency_survives_a_damaged_comment() -> None:
    rgba = np.dstack([RGB, RGB[..., 0]])
    data = encoded(rgba, "PNG")
    at = data.index(b"IDAT") - 4
    damaged = data[:at] + chunk(b"tEXt", b"a\0b", crc=1) + data[at:]
    np.testing.assert_array_equal(decode_rgba(damaged), rgba)


def test_exif_of_other_formats_that_is_none_is_left_out() -> None:
    for kind, options in (("JPEG", {"quality": 98}), ("WEBP", {"lossless": True})):
        plain = encoded(RGB, kind, **options)
        data = encoded(RGB, kind, exif=b"Exif\0\0no tiff at all", **options)
        assert decode(data).notes == ("exif",)
        np.testing.assert_array_equal(decode(data).rgb, decode(plain).rgb)


def test_avif_with_exif_that_is_none_is_its_pixels() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    data = encoded(RGB, "AVIF", exif=exif)
    at = data.index(exif.tobytes().removeprefix(b"Exif\0\0"))
    damaged = data[:at] + b"no tiff " + data[at + 8 :]
    assert decode(damaged).notes == ("exif",)
    np.testing.assert_array_equal(decode(damaged).rgb, decode(data).rgb)


def test_a_webp_whose_metadata_are_longer_than_the_file_is_its_pixels() -> None:
    plain = encoded(RGB, "WEBP", lossless=True)
    data = encoded(RGB, "WEBP", lossless=True, xmp=b"x" * 20)
    at = data.index(b"XMP ")
    damaged = data[: at + 4] + (1 << 20).to_bytes(4, "little") + data[at + 8 :]
    np.testing.assert_array_equal(decode(damaged).rgb, decode(plain).rgb)


def test_damaged_pixels_stay_refused_whatever_is_left_out() -> None:
    at = PNG.index(b"IDAT") + 10
    broken = PNG[:at] + bytes([PNG[at] ^ 0xFF]) + PNG[at + 1 :]
    end = broken.index(b"IDAT") - 4
    for data in (broken, broken[:end] + chunk(b"tEXt", b"a\0b", crc=1) + broken[end:], PNG[: len(PNG) * 2 // 3]):
        with pytest.raises(UnreadablePicture):
            decode(data)


def bmp_with_alpha(rgb: np.ndarray, alpha: int) -> bytes:
    """A 32-bit BMP with masks for four channels, bottom row first."""
    height, width = rgb.shape[:2]
    bgra = np.dstack([rgb[..., ::-1], np.full((height, width), alpha, np.uint8)])[::-1]
    masks = (0xFF0000).to_bytes(4, "little") + (0xFF00).to_bytes(4, "little") + (0xFF).to_bytes(4, "little")
    masks += (0xFF000000).to_bytes(4, "little")
    header = (108).to_bytes(4, "little") + width.to_bytes(4, "little") + height.to_bytes(4, "little")
    header += b"\1\0\x20\0" + (3).to_bytes(4, "little") + bgra.size.to_bytes(4, "little") + bytes(16) + masks
    header += b" niW" + bytes(108 - len(header) - 4)
    start = 14 + len(header)
    return (
        b"BM"
        + (start + bgra.size).to_bytes(4, "little")
        + bytes(4)
        + start.to_bytes(4, "little")
        + header
        + (bgra.tobytes())
    )


def test_an_alpha_that_hides_everything_is_no_alpha() -> None:
    hidden = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    for data in (bmp_with_alpha(RGB, 0), encoded(hidden, "PNG"), encoded(hidden, "TIFF")):
        picture = decode(data)
        np.testing.assert_array_equal(picture.rgb, RGB)
        assert picture.alpha is None
        assert picture.notes == ("alpha",)
        np.testing.assert_array_equal(decode_rgba(data), np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]))


def test_an_empty_sheet_stays_an_empty_sheet() -> None:
    """Nothing is hidden beneath it: black under an alpha of 0 is no ink."""
    picture = decode(encoded(np.zeros((8, 8, 4), np.uint8), "PNG"))
    assert (picture.rgb == 255).all()
    assert picture.alpha is not None
    assert picture.notes == ()


def test_an_alpha_that_shows_one_pixel_is_an_alpha() -> None:
    rgba = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    rgba[3, 4, 3] = 1
    picture = decode(encoded(rgba, "PNG"))
    assert picture.alpha is not None
    assert picture.notes == ()
