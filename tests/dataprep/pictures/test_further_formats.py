"""TIFF, AVIF and JPEG 2000, as archives and scanners use them: decoded as everywhere, and never stored as they are."""

import io
import struct
from typing import Literal

import cv2
import numpy as np
import pytest
from PIL import Image

from dataprep.pictures.decode import UnreadablePicture, decode, decode_rgba, measure
from tests.exif_orientation import STORED

RGB = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8), (97, 71))
GRAY = RGB[..., 1]
ALPHA = cv2.resize(np.random.default_rng(1).integers(0, 256, (4, 5), np.uint8), (97, 71))
WEIGHT = ALPHA[..., None] / 255.0
OVER_WHITE = np.rint(RGB * WEIGHT + 255 * (1 - WEIGHT)).astype(np.uint8)
INKS = np.dstack([255 - RGB, np.zeros_like(GRAY)])


def encoded(image: Image.Image | np.ndarray, kind: str = "TIFF", **options: object) -> bytes:
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def tiff(
    pixels: np.ndarray,
    *,
    order: Literal["<", ">"] = "<",
    planes_apart: bool = False,
    tile: int = 0,
    photometric: int = 2,
    extra: int | None = None,
) -> bytes:
    """An uncompressed TIFF of (H, W, channels), as Pillow does not write it."""
    height, width, channels = pixels.shape
    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    if tile:
        high, wide = (-(-side // tile) * tile for side in (height, width))
        stored = np.pad(stored, ((0, high - height), (0, wide - width), (0, 0)))
        cuts = [(slice(y, y + tile), slice(x, x + tile)) for y in range(0, high, tile) for x in range(0, wide, tile)]
    else:
        cuts = [(slice(None), slice(None))]
    planes = [stored[..., [channel]] for channel in range(channels)] if planes_apart else [stored]
    parts = [plane[cut].tobytes() for plane in planes for cut in cuts]
    starts = np.cumsum([8, *map(len, parts)])[:-1].tolist()
    sizes = [len(part) for part in parts]
    tags = [(256, "I", [width]), (257, "I", [height]), (258, "H", [pixels.dtype.itemsize * 8] * channels)]
    tags += [(259, "H", [1]), (262, "H", [photometric]), (277, "H", [channels]), (284, "H", [1 + planes_apart])]
    if tile:
        tags += [(322, "I", [tile]), (323, "I", [tile]), (324, "I", starts), (325, "I", sizes)]
    else:
        tags += [(273, "I", starts), (278, "I", [height]), (279, "I", sizes)]
    tags += [] if extra is None else [(338, "H", [extra])]
    body = b"".join(parts)
    entries, values = struct.pack(f"{order}H", len(tags)), b""
    behind = 8 + len(body) + 2 + 12 * len(tags) + 4
    for tag, kind, held in sorted(tags):
        value = struct.pack(f"{order}{len(held)}{kind}", *held)
        entries += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(held))
        entries += value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(f"{order}I", behind + len(values))
        values += value if len(value) > 4 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body))
    return head + body + entries + bytes(4) + values


DEEP = RGB.astype(np.uint16) * 257
FEW = Image.fromarray(RGB).quantize(64)
BLACK = GRAY > 127
PACKINGS = ("tiff_lzw", "tiff_adobe_deflate", "packbits")
LOSSLESS = {
    **{f"packed by {how}": (encoded(RGB, compression=how), RGB) for how in PACKINGS},
    "of little bytes first": (tiff(RGB, order="<"), RGB),
    "of big bytes first": (tiff(RGB, order=">"), RGB),
    "of 16 bits, little bytes first": (tiff(DEEP, order="<"), RGB),
    "of 16 bits, big bytes first": (tiff(DEEP, order=">"), RGB),
    "with planes apart": (tiff(RGB, planes_apart=True), RGB),
    "in tiles": (tiff(RGB, tile=32), RGB),
    "in tiles with planes apart": (tiff(RGB, tile=32, planes_apart=True), RGB),
    "of 16 bits in tiles": (tiff(DEEP, tile=32), RGB),
    "grey of 16 bits": (encoded(Image.fromarray(GRAY.astype(np.uint16) * 257)), np.dstack([GRAY] * 3)),
    "white is zero": (tiff(255 - GRAY[..., None], photometric=0), np.dstack([GRAY] * 3)),
    "of one bit": (encoded(Image.fromarray(BLACK), compression="group4"), np.dstack([np.uint8(255) * BLACK] * 3)),
    "with a palette": (encoded(FEW), np.asarray(FEW.convert("RGB"))),
    "of inks": (encoded(Image.fromarray(INKS, "CMYK")), RGB),
    "of packed inks": (encoded(Image.fromarray(INKS, "CMYK"), compression="tiff_lzw"), RGB),
    "of inks of 16 bits": (tiff(INKS.astype(np.uint16) * 257, photometric=5), RGB),
    "with a fourth channel that is no alpha": (tiff(np.dstack([RGB, ALPHA]), extra=0), RGB),
    "jpeg 2000": (encoded(RGB, "JPEG2000"), RGB),
    "a bare jpeg 2000 code stream": (encoded(RGB, "JPEG2000", no_jp2=True), RGB),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_picture_comes_out_as_it_went_in(name: str) -> None:
    data, shown = LOSSLESS[name]
    picture = decode(data)
    np.testing.assert_array_equal(picture.rgb, shown)
    assert (picture.alpha, picture.notes) == (None, ())
    assert not picture.source_is_plain_rgb, "other tools do not read it, so it is stored as PNG"
    assert measure(data) == (97, 71)


@pytest.mark.parametrize(
    "data",
    [
        encoded(np.dstack([RGB, ALPHA])),
        tiff(np.dstack([DEEP, ALPHA.astype(np.uint16) * 257]), extra=2),
        encoded(np.dstack([RGB, ALPHA]), "JPEG2000"),
    ],
    ids=["tiff", "tiff of 16 bits", "jpeg 2000"],
)
def test_alpha_is_laid_over_white_and_kept(data: bytes) -> None:
    picture = decode(data)
    np.testing.assert_array_equal(picture.rgb, OVER_WHITE)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, ALPHA)
    np.testing.assert_array_equal(decode_rgba(data), np.dstack([RGB, ALPHA]))


def test_colours_that_alpha_was_multiplied_into_are_laid_over_white() -> None:
    multiplied = np.rint(RGB * WEIGHT).astype(np.uint8)
    picture = decode(tiff(np.dstack([multiplied, ALPHA]), extra=1))
    np.testing.assert_allclose(picture.rgb, OVER_WHITE, atol=1)


@pytest.mark.parametrize("orientation", STORED)
def test_a_turned_picture_is_upright(orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](RGB))
    for how in ("raw", "tiff_lzw"):
        data = encoded(stored, compression=how, tiffinfo={274: orientation})
        np.testing.assert_array_equal(decode(data).rgb, RGB)
        assert measure(data) == (97, 71)
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(stored, "AVIF", quality=100, subsampling="4:4:4", exif=exif)
    np.testing.assert_allclose(decode(data).rgb, RGB, atol=4)
    assert measure(data) == (97, 71)


def test_of_several_pages_the_first_is_taken_and_the_others_are_noted() -> None:
    more = [Image.new("RGB", (10, 10), "red")] * 2
    data = encoded(RGB, save_all=True, append_images=more)
    picture = decode(data)
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert picture.notes == ("further pages",)


def test_an_animated_avif_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("#ff0000", "#0000ff")]
    picture = decode(encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=100))
    np.testing.assert_allclose(picture.rgb.reshape(-1, 3).mean(axis=0), [255, 0, 0], atol=4)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (encoded(Image.fromarray(GRAY.astype(np.float32) / 255)), "32 bits a channel"),
        (encoded(Image.fromarray(GRAY.astype(np.int32))), "32 bits a channel"),
        (tiff(DEEP, planes_apart=True), "16-bit planes"),
        (tiff(RGB)[: -RGB.size // 2], "picture"),
        (encoded(RGB, compression="tiff_lzw")[:-2000], "picture"),
        (encoded(RGB, "AVIF")[:-200], "picture"),
        (encoded(RGB, "JPEG2000")[:200], "picture"),
    ],
    ids=["float", "32 bits", "deep planes", "cut", "cut, packed", "cut avif", "cut jpeg 2000"],
)
def test_what_cannot_be_read_whole_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(UnreadablePicture, match=said):
        decode(data)


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "JPEG2000"])
def test_a_picture_of_absurd_size_is_refused_by_its_header(kind: str) -> None:
    data = encoded(RGB, kind)
    for look in (decode, measure):
        with pytest.raises(UnreadablePicture, match="97x71 pixels, more than the 6000 allowed"):
            look(data, 6000)


def test_a_tile_of_terabytes_is_refused() -> None:
    data = tiff(RGB, tile=32)
    sides = [(struct.pack("<HHII", tag, 4, 1, 32), struct.pack("<HHII", tag, 4, 1, 1 << 20)) for tag in (322, 323)]
    for before, after in sides:
        data = data.replace(before, after)
    with pytest.raises(UnreadablePicture):
        decode(data)
