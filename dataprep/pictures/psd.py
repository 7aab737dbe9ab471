"""The merged picture of a Photoshop document (PSD and PSB): what it looks like, without any of its layers.

The format is Adobe's "Photoshop File Formats Specification" (2019), sections "File Header" to "Image Data". Of 8 and 16
bits a channel, grey, RGB, CMYK, indexed, bitmap and duotone are read; planes are stored plain or by PackBits, of which
no more is unpacked than the header says. A document that was saved without its merged picture ("maximise
compatibility" switched off) holds a white sheet in its place and is refused.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

SIGNATURE = b"8BPS"
MOST_SIDE = 300_000
_VERSION_INFO = 1057  # the resource that says whether there is a merged picture
_BITMAP, _GRAY, _INDEXED, _RGB, _CMYK, _DUOTONE = 0, 1, 2, 3, 4, 8
_PLANES = {_BITMAP: 1, _GRAY: 1, _INDEXED: 1, _RGB: 3, _CMYK: 4, _DUOTONE: 1}  # of each colour mode, without alpha
_MODES = {7: "multichannel", 9: "Lab"}

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Header:
    """width and height in pixels; planes are those of the colours and what follows them."""

    width: int
    height: int
    planes: int
    bits: int
    mode: int
    is_large: bool  # PSB: some lengths have more bytes


class NotRead(ValueError):
    """A document that is whole, perhaps, and none that is read; the message says why."""


def looks_like_psd(data: bytes) -> bool:
    return data.startswith(SIGNATURE)


def read_header(data: bytes) -> Header:
    """Raises ValueError for a document that is not read, struct.error for one that is cut."""
    version, planes, height, width, bits, mode = struct.unpack(">H6xHIIHH", data[4:26])
    if version not in (1, 2) or not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE):
        raise ValueError("a damaged Photoshop document: its header makes no sense")
    if mode not in _PLANES:
        raise ValueError(f"a Photoshop document in {_MODES.get(mode, 'an unknown')} colour, which is not read")
    if bits not in (1, 8, 16) or (bits == 1) != (mode == _BITMAP):
        raise ValueError(f"a Photoshop document of {bits} bits a channel, which is not read; 8 and 16 are")
    if planes < _PLANES[mode]:
        raise ValueError("a damaged Photoshop document: it lacks planes of its colours")
    return Header(width, height, planes, bits, mode, version == 2)


def merged_picture(data: bytes, header: Header) -> Bytes:
    """uint8 RGB, or RGBA with straight alpha where the document is transparent. Raises ValueError or struct.error."""
    palette, at = _section(data, 26, 4)
    resources, at = _section(data, at, 4)
    layers, at = _section(data, at, 8 if header.is_large else 4)
    if not _has_merged(resources):
        raise NotRead("a Photoshop document without its merged picture; save it with maximum compatibility")
    colors = _PLANES[header.mode]
    has_alpha = header.planes > colors and _is_transparent(layers, header)
    planes = _planes(data, at, header, colors + has_alpha)
    rgb = _colored(planes[:colors], header, palette)
    return rgb if not has_alpha else _without_matte(rgb, planes[colors])


def _section(data: bytes, at: int, length_bytes: int) -> tuple[bytes, int]:
    """The content of the section at `at`, and where the next one starts."""
    start = at + length_bytes
    end = start + int.from_bytes(data[at:start], "big")
    if end > len(data):
        raise ValueError("the document is cut")
    return data[start:end], end


def _has_merged(resources: bytes) -> bool:
    """What the version resource says; documents of other programs lack it and have their merged picture."""
    at = 0
    while resources[at : at + 4] == b"8BIM":
        number = int.from_bytes(resources[at + 4 : at + 6], "big")
        name = 1 + resources[at + 6] if at + 6 < len(resources) else 1
        start = at + 6 + name + name % 2
        size = int.from_bytes(resources[start : start + 4], "big")
        if number == _VERSION_INFO:
            return resources[start + 8 : start + 9] != b"\0"
        at = start + 4 + size + size % 2
    return True


def _is_transparent(layers: bytes, header: Header) -> bool:
    """Whether the first plane behind the colours is transparency, and not a selection that somebody kept."""
    start = 8 if header.is_large else 4
    return len(layers) >= start + 2 and int.from_bytes(layers[start : start + 2], "big", signed=True) < 0


def _planes(data: bytes, at: int, header: Header, wanted: int) -> list[Bytes]:
    """The first planes, each uint8 (H, W), as they are stored."""
    row_bytes = (header.width + 7) // 8 if header.bits == 1 else header.width * header.bits // 8
    size = row_bytes * header.height
    (packing,) = struct.unpack(">H", data[at : at + 2])
    at += 2
    if packing == 0:
        parts = [data[at + plane * size : at + (plane + 1) * size] for plane in range(wanted)]
    elif packing == 1:
        parts = _unpacked(data, at, header, wanted, row_bytes)
    else:
        raise NotRead(f"a Photoshop document packed by method {packing}, which is not read")
    if any(len(part) != size for part in parts):
        raise ValueError("the document is cut")
    return [_levels(part, header) for part in parts]


def _unpacked(data: bytes, at: int, header: Header, wanted: int, row_bytes: int) -> list[bytes]:
    kind, rows = (">u4" if header.is_large else ">u2"), header.planes * header.height
    lengths = np.frombuffer(data[at : at + rows * np.dtype(kind).itemsize], kind)
    if len(lengths) != rows:
        raise ValueError("the document is cut")
    start = at + lengths.nbytes
    sizes = lengths.reshape(header.planes, header.height).sum(1, dtype=np.int64).tolist()
    parts = []
    for size in sizes[:wanted]:
        packed = data[start : start + size]
        parts.append(Image.frombytes("L", (row_bytes, header.height), packed, "packbits", "L").tobytes())
        start += size
    return parts


def _levels(plane: bytes, header: Header) -> Bytes:
    """The plane with 8 bits a pixel: 16 are scaled, bits become 255 (ink) and 0."""
    if header.bits == 16:
        wide = np.frombuffer(plane, ">u2").reshape(header.height, header.width).astype(np.uint32)
        return ((wide + 128) // 257).astype(np.uint8)
    if header.bits == 1:
        rows = np.frombuffer(plane, np.uint8).reshape(header.height, -1)
        return np.unpackbits(rows, axis=1, count=header.width) * np.uint8(255)
    return np.frombuffer(plane, np.uint8).reshape(header.height, header.width)


def _colored(planes: list[Bytes], header: Header, palette: bytes) -> Bytes:
    if header.mode == _RGB:
        return np.dstack(planes)
    if header.mode == _CMYK:  # stored as 255 - ink
        return np.asarray(Image.fromarray(255 - np.dstack(planes), "CMYK").convert("RGB"))
    if header.mode == _INDEXED:
        if len(palette) < 768:
            raise ValueError("the document has no palette")
        return np.frombuffer(palette[:768], np.uint8).reshape(3, 256).T[planes[0]]
    gray = 255 - planes[0] if header.mode == _BITMAP else planes[0]
    return np.dstack([gray, gray, gray])


def _without_matte(rgb: Bytes, alpha: Bytes) -> Bytes:
    """RGBA with straight alpha of colours that are stored as they look over white."""
    share = np.maximum(alpha, 1)[..., None].astype(np.int32)
    straight = 255 - ((255 - rgb.astype(np.int32)) * 255 + share // 2) // share
    return np.dstack([np.clip(straight, 0, 255).astype(np.uint8), alpha])
