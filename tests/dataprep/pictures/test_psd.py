"""Photoshop documents, against documents that the test writes by the specification, and against Pillow's reader."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from dataprep.pictures.decode import UnreadablePicture, decode, decode_rgba, measure

RGB = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8), (43, 24))
ALPHA = cv2.resize(np.random.default_rng(1).integers(0, 256, (4, 5), np.uint8), (43, 24))
PLANES = [RGB[..., channel] for channel in range(3)]


def packed(row: bytes) -> bytes:
    """PackBits of a row, without finding any repetition."""
    parts = [row[start : start + 128] for start in range(0, len(row), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def psd(
    planes: list[np.ndarray],
    mode: int = 3,
    *,
    bits: int = 8,
    rle: bool = False,
    large: bool = False,
    layers: int = 0,
    has_merged: bool | None = None,
    palette: bytes = b"",
) -> bytes:
    """A document of these planes; `layers`: their number as stored, negative where the first extra plane is alpha."""
    height, width = planes[0].shape
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1 + large, len(planes), height, width, bits, mode)
    version = b"8BIM" + struct.pack(">HHIB", 1057, 0, 5, 0)[:8] + struct.pack(">IBx", 1, bool(has_merged))
    version = b"" if has_merged is None else version
    wide = 8 if large else 4
    info = (2).to_bytes(wide, "big") + struct.pack(">h", layers) if layers else b""
    sections = [len(palette).to_bytes(4, "big"), palette, len(version).to_bytes(4, "big"), version]
    sections += [len(info).to_bytes(wide, "big"), info]
    rows = [
        (np.packbits(row) if bits == 1 else row.astype(">u2") if bits == 16 else row).tobytes()
        for plane in planes
        for row in plane
    ]
    if rle:
        rows = [packed(row) for row in rows]
        rows = [len(row).to_bytes(wide // 2, "big") for row in rows] + rows
    return b"".join([head, *sections, struct.pack(">H", rle), *rows])


@pytest.mark.parametrize("rle", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("large", [False, True], ids=["psd", "psb"])
def test_the_merged_picture_is_read(rle: bool, large: bool) -> None:
    data = psd(PLANES, rle=rle, large=large, has_merged=True)
    picture = decode(data)
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert (picture.alpha, picture.notes, picture.source_is_plain_rgb) == (None, (), False)
    assert measure(data) == (43, 24)
    deep = psd([plane.astype(np.uint16) * 257 for plane in PLANES], bits=16, rle=rle, large=large)
    np.testing.assert_array_equal(decode(deep).rgb, RGB)


def test_a_packed_document_is_what_pillow_reads() -> None:
    data = psd(PLANES, rle=True)
    np.testing.assert_array_equal(decode(data).rgb, np.asarray(Image.open(io.BytesIO(data), formats=("PSD",))))


def test_grey_bitmap_cmyk_and_indexed_documents() -> None:
    gray = PLANES[0]
    np.testing.assert_array_equal(decode(psd([gray], 1)).rgb, np.dstack([gray] * 3))
    black = gray < 128
    np.testing.assert_array_equal(decode(psd([black], 0, bits=1)).rgb, np.dstack([np.uint8(255) * ~black] * 3))
    np.testing.assert_array_equal(decode(psd([*PLANES, np.full_like(gray, 255)], 4)).rgb, RGB)
    few = Image.fromarray(RGB).quantize(256)
    colors = np.zeros((256, 3), np.uint8)
    used = np.array(few.getpalette(), np.uint8).reshape(-1, 3)
    colors[: len(used)] = used
    document = psd([np.asarray(few)], 2, palette=colors.T.tobytes())
    np.testing.assert_array_equal(decode(document).rgb, np.asarray(few.convert("RGB")))


def test_transparency_is_alpha_and_a_kept_selection_is_not() -> None:
    weight = ALPHA[..., None] / 255.0
    over_white = np.rint(RGB * weight + 255 * (1 - weight)).astype(np.uint8)  # as Photoshop stores what is transparent
    planes = [*(over_white[..., channel] for channel in range(3)), ALPHA]
    picture = decode(psd(planes, layers=-1))
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, ALPHA)
    np.testing.assert_allclose(picture.rgb, over_white, atol=1)
    strong = ALPHA > 127
    np.testing.assert_allclose(decode_rgba(psd(planes, layers=-1))[strong][:, :3], RGB[strong], atol=2)
    selection = decode(psd([*PLANES, ALPHA], layers=1))
    assert selection.alpha is None
    np.testing.assert_array_equal(selection.rgb, RGB)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (psd(PLANES, has_merged=False), "without its merged picture"),
        (psd(PLANES, 9), "in Lab colour"),
        (psd([plane.astype(np.uint8) for plane in PLANES], bits=32), "32 bits a channel"),
        (psd(PLANES[:2]), "lacks planes"),
        (psd(PLANES)[:-1], "cut"),
        (psd(PLANES, rle=True)[:-1], "damaged"),
        (psd(PLANES)[:20], "unpack"),
        (b"8BPS" + bytes(100), "makes no sense"),
    ],
    ids=["no merged picture", "lab", "32 bits", "two planes", "cut", "cut, packed", "half a header", "zeros"],
)
def test_a_document_that_is_not_read_says_why(data: bytes, said: str) -> None:
    with pytest.raises(UnreadablePicture, match=said):
        decode(data)


def test_a_document_of_absurd_size_is_refused_by_its_header() -> None:
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 30_000, 30_000, 8, 3)
    for look in (decode, measure):
        with pytest.raises(UnreadablePicture, match="30000x30000 pixels"):
            look(header + bytes(14))
