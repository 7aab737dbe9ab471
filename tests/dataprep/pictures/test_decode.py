"""What decoding promises, against pictures whose pixels are known because the test drew them."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dataprep.pictures.decode import UnreadablePicture, decode, decode_png, decode_rgba, encode_png

RGB = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def drawing(body: str, attributes: str) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>{body}</svg>'.encode()


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_a_lossless_picture_comes_out_as_it_went_in(kind: str, options: dict[str, object]) -> None:
    picture = decode(encoded(Image.fromarray(RGB), kind, **options))
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert picture.alpha is None
    assert picture.source_is_plain_rgb


def test_transparent_pixels_are_laid_over_white_and_the_alpha_is_kept() -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    picture = decode(encoded(Image.fromarray(rgba), "PNG"))
    weight = rgba[..., 3:] / 255.0
    np.testing.assert_allclose(picture.rgb, rgba[..., :3] * weight + 255 * (1 - weight), atol=0.5001)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, rgba[..., 3])
    assert not picture.source_is_plain_rgb


def test_black_lines_on_nothing_do_not_flatten_to_black() -> None:
    lines = np.zeros((8, 8, 4), np.uint8)  # black everywhere, visible in one column
    lines[:, 3, 3] = 255
    rgb = decode(encoded(Image.fromarray(lines), "PNG")).rgb
    assert (rgb[:, 3] == 0).all()
    assert (np.delete(rgb, 3, axis=1) == 255).all()


def test_an_alpha_channel_that_hides_nothing_is_no_mask() -> None:
    opaque = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    picture = decode(encoded(Image.fromarray(opaque), "PNG"))
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.rgb, RGB)


def test_a_palette_with_a_transparent_entry_is_transparent_there() -> None:
    image = Image.new("P", (4, 2))
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.putdata([0, 1, 1, 0, 1, 0, 0, 1])
    for kind in ("PNG", "GIF"):
        picture = decode(encoded(image, kind, transparency=0))
        assert picture.alpha is not None
        np.testing.assert_array_equal(picture.alpha[0], [0, 255, 255, 0])
        np.testing.assert_array_equal(picture.rgb[0, :2], [[255, 255, 255], [200, 10, 20]])


def test_sixteen_bit_gray_is_scaled_and_not_clipped() -> None:
    gray = np.array([[0, 257, 32896, 65535]], np.uint16)
    rgb = decode(encoded(Image.fromarray(gray), "PNG")).rgb
    np.testing.assert_array_equal(rgb[..., 0], [[0, 1, 128, 255]])


def test_a_cmyk_jpeg_has_the_colours_that_were_separated() -> None:
    red = Image.new("RGB", (16, 16), (220, 30, 40)).convert("CMYK")
    picture = decode(encoded(red, "JPEG", quality=95))
    np.testing.assert_allclose(picture.rgb.reshape(-1, 3).mean(axis=0), [220, 30, 40], atol=3)
    assert not picture.source_is_plain_rgb


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90 degrees clockwise to view"
    left_black = np.full((16, 32, 3), 255, np.uint8)
    left_black[:, :16] = 0
    picture = decode(encoded(Image.fromarray(left_black), "JPEG", exif=exif, quality=95))
    assert picture.rgb.shape == (32, 16, 3)
    assert picture.rgb[:12].max() < 30
    assert picture.rgb[20:].min() > 225
    assert not picture.source_is_plain_rgb


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("#ff0000", "#0000ff")]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        picture = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
        assert (picture.rgb == [255, 0, 0]).all()
        assert not picture.source_is_plain_rgb


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT" + zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(UnreadablePicture, match="pixels"):
        decode(png_header(side, side))


def test_the_limit_of_pixels_can_be_set_and_is_exact() -> None:
    data = encoded(Image.fromarray(RGB), "PNG")
    decode(data, max_pixels=24 * 40)
    with pytest.raises(UnreadablePicture, match="40x24"):
        decode(data, max_pixels=24 * 40 - 1)


@pytest.mark.parametrize("data", [b"", b"hello, this is text", b"\x1f\x8b\x08 no", b"<html><body>no</body></html>"])
def test_what_is_no_picture_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(UnreadablePicture):
        decode(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # Pillow warns, then we refuse
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_damage_of_any_kind_is_an_unreadable_picture_and_nothing_else(kind: str) -> None:
    whole = encoded(Image.fromarray(RGB), kind)
    random = np.random.default_rng(2)
    for _ in range(60):
        damaged = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for at in random.integers(0, len(damaged), 4):
            damaged[at] = random.integers(256)
        with contextlib.suppress(UnreadablePicture):
            assert decode(bytes(damaged), max_pixels=10_000).rgb.dtype == np.uint8


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_picture_is_not_half_a_picture(kind: str) -> None:
    data = encoded(Image.fromarray(RGB), kind)
    with pytest.raises(UnreadablePicture):
        decode(data[: len(data) * 3 // 5])


def test_a_drawing_is_rendered_at_its_own_size_with_its_alpha() -> None:
    picture = decode(
        drawing('<rect width="20" height="10" fill="#102030"/>', 'width="40" height="30" viewBox="0 0 20 15"')
    )
    assert picture.rgb.shape == (30, 40, 3)
    assert (picture.rgb[:20] == [0x10, 0x20, 0x30]).all()
    assert (picture.rgb[20:] == 255).all()
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, np.repeat([255] * 20 + [0] * 10, 40).reshape(30, 40))


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ('viewBox="0 0 72 72"', (256, 256)),
        ('viewBox="0 0 100 50"', (128, 256)),
        ('width="1in" height="48pt"', (64, 96)),
        ('width="10.4" height="5.6"', (6, 10)),
        ('width="100" viewBox="0 0 4 2"', (50, 100)),
    ],
)
def test_the_size_of_a_drawing_follows_one_rule(attributes: str, shape: tuple[int, int]) -> None:
    assert decode(drawing('<path d="M0 0h9v9z"/>', attributes)).rgb.shape[:2] == shape


LAUGHS = "".join(f'<g id="l{n}">' + f'<use href="#l{n - 1}"/>' * 10 + "</g>" for n in range(1, 10))


@pytest.mark.parametrize(
    ("body", "attributes"),
    [
        ("", 'width="100000" height="100000"'),
        ("", 'width="1e9" height="1"'),
        ("", 'width="nan" height="5"'),
        ("", 'width="-5" height="5"'),
        ("", 'width="0" height="5"'),
        ("", ""),
        ("<path", 'width="5" height="5"'),
        ('<image href="file:///etc/hostname" width="9" height="9"/>', 'width="9" height="9"'),
        ('<image href="http://127.0.0.1:9/x.png" width="9" height="9"/>', 'width="9" height="9"'),
        ('<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/></g>', 'width="9" height="9"'),
        ("<g>" * 3000 + "</g>" * 3000, 'width="9" height="9"'),
    ],
)
def test_a_hostile_or_broken_drawing_is_refused(body: str, attributes: str) -> None:
    with pytest.raises(UnreadablePicture):
        decode(drawing(body, attributes))


def test_a_drawing_that_unfolds_to_a_billion_shapes_is_refused_before_it_is_drawn() -> None:
    with pytest.raises(UnreadablePicture, match="expands to more than"):
        decode(drawing(f'<g id="l0"><path d="M0 0h1"/></g>{LAUGHS}', 'width="9" height="9"'))


@pytest.mark.parametrize(
    "array",
    [RGB, RGB[..., 0], np.arange(0, 65536, 97, dtype=np.uint16).reshape(-1, 4)],
    ids=["rgb", "gray", "16-bit"],
)
def test_png_round_trip_is_exact_and_the_bytes_repeat(array: np.ndarray) -> None:
    data = encode_png(array)
    assert data == encode_png(array.copy())
    back = decode_png(data)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_png_keeps_transparency_and_the_colours_beneath_it() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    np.testing.assert_array_equal(decode_rgba(encode_png(rgba)), rgba)


def test_png_of_other_arrays_is_a_wrong_call() -> None:
    for array in (np.zeros((4, 4)), np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4, 3), np.uint16)):
        with pytest.raises(ValueError, match="PNG"):
            encode_png(array)
    with pytest.raises(UnreadablePicture):
        decode_png(b"not a png")
