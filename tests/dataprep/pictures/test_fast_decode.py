"""Decoding fast, smaller or both, against Pillow decoding slowly and whole."""

import contextlib
import io
import itertools
import zlib
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from dataprep.pictures.decode import UnreadablePicture, decode, decode_at_least, decode_png, decode_resized, measure
from dataprep.pictures.decode import encode_png as png
from dataprep.pictures.resize import fitted_size, resize_color

STORYBOOK = Path(__file__).parents[4] / "shared" / "data" / "storybook"
SHIPPED = Path(__file__).parents[3] / "dataprep" / "assets" / "pictures" / "sprites"


def scene(seed: int, width: int = 97, height: int = 71) -> np.ndarray:
    """Soft shades with hard shapes on them: something for every part of a codec."""
    rng = np.random.default_rng(seed)
    page = cv2.resize(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        x, y, radius = (int(v) for v in rng.integers(5, 60, 3))
        cv2.circle(page, (x, y), radius // 3, tuple(int(v) for v in rng.integers(0, 256, 3)), -1, cv2.LINE_AA)
    return page


RGB = scene(0)
RGBA = np.dstack([RGB, np.random.default_rng(1).integers(0, 256, RGB.shape[:2], dtype=np.uint8)])


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def before(data: bytes, kind: bytes, *chunks: bytes) -> bytes:
    at = data.index(kind) - 4
    return data[:at] + b"".join(chunks) + data[at:]


PLAIN_PNG = encoded(Image.fromarray(RGB), "PNG")
GRAY = Image.fromarray(RGB).convert("L")
PICTURE = Image.fromarray(RGB)
ZOO = {
    **{
        f"jpeg {quality} {sampling} {'progressive' if progressive else 'baseline'}": encoded(
            PICTURE, "JPEG", quality=quality, subsampling=sampling, progressive=progressive
        )
        for quality, sampling, progressive in itertools.product((30, 100), ("4:4:4", "4:2:2", "4:2:0"), (False, True))
    },
    "jpeg gray": encoded(GRAY, "JPEG"),
    "jpeg cmyk": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "jpeg stored as rgb": encoded(PICTURE, "JPEG", keep_rgb=True),
    "jpeg with restart markers": encoded(PICTURE, "JPEG", restart_marker_blocks=2),
    "jpeg with a comment and a profile": encoded(
        PICTURE, "JPEG", comment=b"\xff\xd9 \xff\xda", icc_profile=b"no profile"
    ),
    "jpeg followed by junk": encoded(PICTURE, "JPEG") + b"\x00junk",
    **{f"jpeg turned {value}": encoded(PICTURE, "JPEG", exif=turned(value)) for value in (*range(9), 9)},
    **{
        f"png {mode}": encoded(Image.fromarray(RGBA).convert(mode), "PNG")
        for mode in ("RGB", "RGBA", "L", "LA", "P", "1")
    },
    "png opaque rgba": encoded(PICTURE.convert("RGBA"), "PNG"),
    "png 16-bit gray": cv2.imencode(".png", cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257)[1].tobytes(),
    "png 2-bit gray": before(PLAIN_PNG, b"IDAT")[:8]
    + chunk(b"IHDR", b"\x00\x00\x00\x08\x00\x00\x00\x02\x02\x00\x00\x00\x00")
    + chunk(b"IDAT", zlib.compress(b"\x00\x1b\xe4\x00\xe4\x1b"))
    + chunk(b"IEND", b""),
    "png interlaced": PLAIN_PNG[:8]
    + chunk(b"IHDR", b"\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x01")
    + chunk(b"IDAT", zlib.compress(b"\x00\x01\x02\x03"))
    + chunk(b"IEND", b""),
    "png with one colour transparent": encoded(PICTURE, "PNG", transparency=tuple(int(v) for v in RGB[0, 0])),
    "png with gamma, background and text": before(
        PLAIN_PNG,
        b"IDAT",
        chunk(b"gAMA", (100000).to_bytes(4, "big")),
        chunk(b"bKGD", bytes(6)),
        chunk(b"tEXt", b"a\0b"),
    ),
    "png turned": encoded(PICTURE, "PNG", exif=turned(6)),
    "png turned behind its pixels": before(PLAIN_PNG, b"IEND", chunk(b"eXIf", turned(6).tobytes()[6:])),
    "png with text behind its pixels": before(PLAIN_PNG, b"IEND", chunk(b"tEXt", b"Author\0me")),
    "png without its end": PLAIN_PNG[:-12],
    "webp": encoded(PICTURE, "WEBP", quality=80),
    "gif": encoded(PICTURE, "GIF"),
    "bmp": encoded(PICTURE, "BMP"),
    "animated png": encoded(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(180)]),
}


def by_pillow(data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """RGB over white and alpha, with nothing but Pillow and the formula."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image).astype(float) / 257 + 0.5).astype(np.uint8))
        rgba = np.asarray((image.convert("RGB") if image.mode == "CMYK" else image).convert("RGBA"))
    alpha = rgba[..., 3:] / 255.0
    rgb = np.floor(rgba[..., :3] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)
    return rgb, None if (rgba[..., 3] == 255).all() else rgba[..., 3]


@pytest.mark.parametrize("name", ZOO)
def test_every_kind_of_picture_has_the_pixels_that_pillow_gives_it(name: str) -> None:
    picture, (rgb, alpha) = decode(ZOO[name]), by_pillow(ZOO[name])
    np.testing.assert_array_equal(picture.rgb, rgb)
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(picture.alpha, alpha)
    assert measure(ZOO[name]) == picture.rgb.shape[1::-1]


def test_which_bytes_any_reader_takes_for_these_very_pixels() -> None:
    plain = {name for name, data in ZOO.items() if decode(data).source_is_plain_rgb}
    jpegs = {name for name in ZOO if name.startswith("jpeg")}
    not_plain = {"jpeg gray", "jpeg cmyk", *(f"jpeg turned {value}" for value in (2, 3, 4, 5, 6, 7, 8, 9))}
    pngs = {"png RGB", "png with gamma, background and text", "png with text behind its pixels", "png without its end"}
    assert plain == (jpegs - not_plain) | pngs | {"webp", "bmp", "png interlaced"}


def test_sixteen_bits_a_colour_are_not_what_eight_bits_say() -> None:
    deep = cv2.imencode(".png", np.random.default_rng(0).integers(0, 65536, (8, 9, 3), dtype=np.uint16))[1].tobytes()
    assert not decode(deep).source_is_plain_rgb


@pytest.mark.skipif(not STORYBOOK.is_dir(), reason="the storybook pictures are not beside this checkout")
def test_real_pictures_have_the_pixels_that_pillow_gives_them() -> None:
    for path in sorted(STORYBOOK.rglob("*.jpg"))[::100]:
        np.testing.assert_array_equal(decode(path.read_bytes()).rgb, by_pillow(path.read_bytes())[0])


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "name", ["jpeg 100 4:2:0 baseline", "jpeg 30 4:4:4 progressive", "jpeg gray", "png RGB", "png RGBA"]
)
def test_damaged_bytes_give_the_pixels_that_pillow_gives_or_none_where_it_gives_none(name: str) -> None:
    random = np.random.default_rng(3)
    for _ in range(150):
        damaged = bytearray(ZOO[name])
        for at in random.integers(0, len(damaged), random.integers(1, 4)):
            damaged[at] = random.integers(256)
        data = bytes(damaged[: random.integers(1, len(damaged) + 1)] if random.random() < 0.2 else damaged)
        expected = seen = None
        with contextlib.suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            expected = by_pillow(data)[0]
        with contextlib.suppress(UnreadablePicture):
            seen = decode(data).rgb
        assert (seen is None) == (expected is None)
        if seen is not None:
            np.testing.assert_array_equal(seen, expected)


def test_a_jpeg_with_a_hole_where_another_marker_stands_is_refused_and_not_painted_gray() -> None:
    data = bytearray(ZOO["jpeg 100 4:2:0 baseline"])
    middle = data.index(b"\xff\xda") + 1000
    data[middle : middle + 2] = b"\xff\x05"
    with pytest.raises(UnreadablePicture):
        decode(bytes(data))


# ---- smaller --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(640, 480), (641, 479), (97, 71), (33, 500)])
@pytest.mark.parametrize("options", [{}, {"exif": turned(6)}, {"exif": turned(3)}])
def test_a_reduced_picture_is_never_below_its_target_and_keeps_its_aspect(
    width: int, height: int, options: dict[str, bytes]
) -> None:
    data = encoded(Image.fromarray(scene(2, width, height)), "JPEG", **options)
    whole = decode(data).rgb
    sides = set()
    for share in (0.05, 0.124, 0.126, 0.24, 0.26, 0.49, 0.51, 1.0, 3.0):
        least = max(1, round(whole.shape[1] * share)), max(1, round(whole.shape[0] * share))
        picture = decode_at_least(data, *least)
        assert picture.rgb.shape[1] >= min(least[0], whole.shape[1])
        assert picture.rgb.shape[0] >= min(least[1], whole.shape[0])
        extent = picture.extent or picture.rgb.shape[1::-1]
        assert extent[0] / extent[1] == pytest.approx(whole.shape[1] / whole.shape[0])
        assert all(-1 < size - side <= 0 for size, side in zip(extent, picture.rgb.shape[1::-1], strict=True))
        assert picture.source_is_plain_rgb == (picture.extent is None and not options)
        sides.add(picture.rgb.shape)
    assert whole.shape in sides
    if not options:
        assert len(sides) == 4


@pytest.mark.parametrize("name", [name for name in ZOO if not name.startswith("jpeg")])
def test_what_is_no_jpeg_is_decoded_whole(name: str) -> None:
    np.testing.assert_array_equal(decode_at_least(ZOO[name], 3, 3).rgb, decode(ZOO[name]).rgb)


def test_a_target_covered_on_one_side_only_does_not_reduce() -> None:
    data = encoded(Image.fromarray(scene(4, 400, 100)), "JPEG")
    assert decode_at_least(data, 100, 51).rgb.shape == (100, 400, 3)
    assert decode_at_least(data, 100, 50).rgb.shape == (50, 200, 3)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_a_target_without_pixels_is_a_wrong_call(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        decode_at_least(PLAIN_PNG, *size)


def shipped(side: int) -> list[bytes]:
    """Real pictures as JPEG; their sides are no multiples of 8."""
    pictures = [decode(path.read_bytes()).rgb for path in sorted(SHIPPED.glob("*.jpg"))]
    smaller = [resize_color(rgb, side, round(side * rgb.shape[0] / rgb.shape[1])) for rgb in pictures]
    return [encoded(Image.fromarray(rgb), "JPEG", quality=92) for rgb in smaller]


@pytest.mark.parametrize("width", [31, 40, 63, 77, 130, 190, 250, 300])
def test_resizing_while_decoding_is_close_to_resizing_afterwards(width: int) -> None:
    for data in shipped(637):
        whole = decode(data).rgb
        size = fitted_size(whole.shape[1::-1], width, width, "contain")
        fast = decode_resized(data, width, width, "contain")
        assert fast.shape[1::-1] == size
        assert cv2.PSNR(fast, resize_color(whole, *size)) > 32


@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
def test_a_reduced_picture_is_not_shifted_by_its_rounded_sides(orientation: int) -> None:
    ramp = np.repeat(np.linspace(0, 255, 801).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)  # 801 = 8 * 100 + 1
    data = encoded(Image.fromarray(ramp), "JPEG", quality=100, exif=turned(orientation))
    size = (6, 70) if orientation in (6, 8) else (70, 6)
    fast, slow = decode_resized(data, *size), resize_color(decode(data).rgb, *size)
    if orientation == 1:
        assert decode_at_least(data, 94, 8).rgb.shape == (8, 101, 3)
    assert np.abs(fast.astype(int) - slow).max() <= 1


@pytest.mark.parametrize(
    ("fit", "size"), [("squash", (50, 60)), ("cover", (107, 60)), ("contain", (50, 28)), ("cover", (50, 60))]
)
def test_a_picture_fits_as_asked(fit: Literal["squash", "cover", "contain"], size: tuple[int, int]) -> None:
    width, height = (160, 90) if size != (50, 60) or fit == "squash" else (100, 120)
    data = encoded(Image.fromarray(scene(5, width, height)), "JPEG")
    assert decode_resized(data, 50, 60, fit).shape == (size[1], size[0], 3)


def test_measuring_a_damaged_or_huge_picture_says_so() -> None:
    with pytest.raises(UnreadablePicture):
        measure(PLAIN_PNG[:20])
    with pytest.raises(UnreadablePicture, match="pixels"):
        measure(PLAIN_PNG, max_pixels=100)


# ---- our own PNG ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [RGB, RGB[..., 1], RGB[::-1, ::2], RGB[..., 0].astype(np.uint16) * 251])
def test_other_readers_find_the_same_pixels_in_our_png(array: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(array)))), array)
    np.testing.assert_array_equal(decode_png(png(array)), array)


def test_a_png_of_ours_that_is_cut_or_changed_is_refused_or_whole() -> None:
    data = png(RGB)
    for end in range(0, len(data), 997):
        with pytest.raises(UnreadablePicture):
            decode_png(data[:end])
    for at in range(0, len(data), 501):
        changed = bytearray(data)
        changed[at] ^= 0x10
        with pytest.raises(UnreadablePicture):
            decode_png(bytes(changed))


@pytest.mark.parametrize("name", ["png RGBA", "png P", "png 1", "png with one colour transparent", "jpeg gray"])
def test_a_png_that_is_none_of_ours_is_refused(name: str) -> None:
    with pytest.raises(UnreadablePicture):
        decode_png(ZOO[name])
