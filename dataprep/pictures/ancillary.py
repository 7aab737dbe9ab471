"""What stands in a picture's file beside its pixels: the parts that cannot be read are left out, as viewers do.

A viewer shows a picture whose comment has a wrong checksum or whose colour profile inflates to megabytes; Pillow
refuses the whole file. So a file that is refused is written again without the parts that are to blame: of a PNG the
ancillary chunks that Pillow cannot read one by one, of a JPEG, WebP or AVIF all text, EXIF and profiles. Pixels are
never touched: what is damaged there stays refused.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from dataprep.pictures.png_chunks import png_chunk

# What was left out, or not shown, of a picture that was taken: the vocabulary of `Picture.notes`.
NOTES = {
    "exif": "EXIF data that cannot be read, and so perhaps how the picture is to be turned",
    "text": "comments that are damaged or too large",
    "colour profile": "a colour profile that is damaged or too large",
    "metadata": "other data beside the pixels that are damaged",
    "alpha": "an alpha channel that hides every pixel: the colours beneath it are taken",
    "svg text": "text of a drawing: left out, or where there is nothing else drawn in another font",
    "further pages": "pages after the first",
}
MOST_PARTS = 4096  # of a file that are tried one by one; what comes behind is left out unread
MOST_TEXTS = 60  # of a PNG that are kept: Pillow reads one of at most 1 MB, and 64 MB of all

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_KINDS = {
    b"eXIf": "exif",
    b"tEXt": "text",
    b"zTXt": "text",
    b"iTXt": "text",
    b"iCCP": "colour profile",
}
# APP1 to APP15 and comments; APP0 and APP14 say how the pixels are stored.
_JPEG_LEFT_OUT = {marker: "metadata" for marker in (*range(0xE1, 0xEE), 0xEF)}
_JPEG_LEFT_OUT |= {0xE1: "exif", 0xE2: "colour profile", 0xFE: "text"}
_WEBP_KEPT = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"VP8X")
_WEBP_KINDS = {b"EXIF": "exif", b"ICCP": "colour profile"}


@dataclass(frozen=True)
class Mended:
    """The picture's file without the parts that cannot be read, and what these were (of NOTES)."""

    data: bytes
    notes: tuple[str, ...]


def without_unreadable(data: bytes) -> Mended | None:
    """The file without what cannot be read beside its pixels; None where nothing is to be left out."""
    if data.startswith(_PNG):
        kept, left = _mended_png(data)
    elif data.startswith(_JPEG):
        kept, left = _mended_jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kept, left = _mended_webp(data)
    elif data[4:8] == b"ftyp" and b"Exif" in data[:MOST_PARTS]:
        # An item of a kind that no decoder knows is passed over.
        kept, left = data[:MOST_PARTS].replace(b"Exif", b"skip") + data[MOST_PARTS:], ["exif"]
    else:
        return None
    return Mended(kept, tuple(sorted(set(left)))) if left else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, the whole chunk) of a PNG; what is cut at the end comes as it is."""
    at = len(_PNG)
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        yield kind, data[at:end]
        if kind == b"IEND":
            return
        at = end


def _mended_png(data: bytes) -> tuple[bytes, list[str]]:
    kept, left, texts = [_PNG], [], 0
    for number, (kind, chunk) in enumerate(_chunks(data)):
        note = _KINDS.get(kind, "metadata")
        texts += note == "text"
        is_critical = kind[:1].isupper() or kind == b"tRNS"
        if is_critical or (number < MOST_PARTS and texts <= MOST_TEXTS and _is_readable(kind, chunk)):
            kept.append(chunk)
        else:
            left.append(note)
    return b"".join(kept), left


def _is_readable(kind: bytes, chunk: bytes) -> bool:
    """Whether Pillow reads a picture of one pixel that has this chunk too."""
    if kind in (b"acTL", b"fcTL", b"fdAT"):  # frames of an animation: they belong to its pixels
        return True
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(4))) + png_chunk(b"IEND", b"")
    try:
        with Image.open(io.BytesIO(_PNG + header + chunk + pixels), formats=("PNG",)) as image:
            image.load()
            image.getexif()
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, struct.error, zlib.error):
        return False
    return True


def _mended_jpeg(data: bytes) -> tuple[bytes, list[str]]:
    kept, at = [data[:2]], 2
    left: list[str] = []
    while data[at : at + 1] == b"\xff" and len(kept) + len(left) < MOST_PARTS:
        marker = data[at + 1] if at + 1 < len(data) else 0xDA
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xDA, 0xFF):  # the pixels begin, or the segments are not in order
            break
        if marker in _JPEG_LEFT_OUT:
            left.append(_JPEG_LEFT_OUT[marker])
        else:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]]), left


def _mended_webp(data: bytes) -> tuple[bytes, list[str]]:
    kept: list[bytes] = []
    left: list[str] = []
    at = 12
    while at + 8 <= len(data) and len(kept) + len(left) < MOST_PARTS:
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if kind in _WEBP_KEPT:
            kept.append(_plain_header(data[at:end]) if kind == b"VP8X" else data[at:end])
        else:
            left.append(_WEBP_KINDS.get(kind, "metadata"))
        at = end
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body, left


def _plain_header(chunk: bytes) -> bytes:
    """A VP8X chunk that announces neither profile, EXIF nor XMP."""
    return chunk[:8] + bytes([chunk[8] & ~0x2C]) + chunk[9:] if len(chunk) > 8 else chunk
