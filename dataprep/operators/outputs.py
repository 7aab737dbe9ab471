"""What an operator gives, held against what it declares, and encoded: the last look before a value is stored.

An operator gives a PNG or an array. The PNG's frame is checked (signature, sizes and sums of all chunks, end), which
costs a tenth of inflating it and finds every cut and every flipped byte. Arrays of a network are looked through for
NaN, infinity and values out of range, which would otherwise be stored as some shade of gray.
"""

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataprep.faults import Fault
from dataprep.pictures.decode import encode_png

RANGE_TOLERANCE = 1e-3  # a float array may leave [0, 1] so far by rounding; it is clipped
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB = 0, 2  # PNG's colour types


@dataclass(frozen=True)
class Kind:
    """A sort of value: `channels` (1 or 3) of `bits` (8 or 16) for each pixel of the row's picture."""

    channels: int
    bits: int


KINDS = {
    "picture": Kind(3, 8),  # colours
    "sketch": Kind(1, 8),  # black lines on white
    "mask": Kind(1, 8),  # white = foreground
    "map": Kind(1, 16),  # integer labels
}
JSON = "json"  # the other sort of value: what JSON can say, as text


def finished(value: Any, gives: str, size: tuple[int, int]) -> bytes | None:
    """The PNG to store for `value`: a PNG, None, or an array (H, W) or (H, W, 3), uint8, uint16 or float in [0, 1].

    `size` is (height, width). What gives "json" may be anything that JSON can say and is stored as such, keys sorted.
    Raises Fault: wrong-size, not-finite, bad-output.
    """
    if value is None:
        return None
    if gives == JSON:
        return _json(value)
    kind = KINDS[gives]
    if isinstance(value, np.ndarray):
        value = encode_png(_quantized(value, kind, size))
    if not isinstance(value, bytes):
        raise Fault("bad-output", f"gave {type(value).__name__}, not PNG bytes or an array")
    _check_png(value, kind, size)
    return value


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise Fault("not-finite", f"gave numbers that are NaN or infinite ({error})") from error
    except TypeError as error:
        raise Fault("bad-output", f"gave what JSON cannot say ({error})") from error


def check_finite(values: np.ndarray) -> None:
    """Raises Fault("not-finite") for NaN or infinity in floats of any shape."""
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise Fault("not-finite", f"{bad} of {values.size} values are NaN or infinite")


def _quantized(array: np.ndarray, kind: Kind, size: tuple[int, int]) -> np.ndarray:
    """Floats in [0, 1] to 8 bits; integers as they are, in the kind's width."""
    _check_size(array.shape[:2], size)
    top = 2**kind.bits - 1
    if array.dtype.kind == "f":
        check_finite(array)
        if kind.bits != 8:
            raise Fault("bad-output", "labels must be integers, not floats")
        _check_range(array, -RANGE_TOLERANCE, 1 + RANGE_TOLERANCE)
        array = np.rint(np.clip(array, 0, 1) * top)
    elif array.dtype.kind in "ui":
        _check_range(array, 0, top)
    else:
        raise Fault("bad-output", f"gave an array of {array.dtype}")
    shape = (*size, 3) if kind.channels == 3 else size
    if array.shape != shape:
        raise Fault("bad-output", f"gave an array of shape {array.shape}, declared is {shape}")
    return array.astype(np.uint8 if kind.bits == 8 else np.uint16)


def _check_range(array: np.ndarray, low: float, high: float) -> None:
    if array.size and not (low <= array.min() and array.max() <= high):
        raise Fault("bad-output", f"gave values from {array.min()} to {array.max()}, allowed are {low} to {high}")


def _check_size(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    if tuple(shape) != tuple(size):
        given = "x".join(str(side) for side in reversed(shape))
        raise Fault("wrong-size", f"the value is {given}, the picture {size[1]}x{size[0]}")


def _check_png(data: bytes, kind: Kind, size: tuple[int, int]) -> None:
    width, height, bits, colors = _png_header(data)
    _check_size((height, width), size)
    if (bits, colors) != (kind.bits, _RGB if kind.channels == 3 else _GRAY):
        raise Fault("bad-output", f"gave a PNG of {bits} bits and colour type {colors}, declared is {kind}")


def _png_header(data: bytes) -> tuple[int, int, int, int]:
    """(width, height, bits, colour type) of a PNG whose every chunk is whole."""
    if not data.startswith(_SIGNATURE + b"\x00\x00\x00\x0dIHDR"):
        raise Fault("bad-output", "gave bytes that are no PNG")
    at, name = len(_SIGNATURE), b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at) if at + 12 <= len(data) else (len(data), b"")
        if at + 12 + length > len(data):
            raise Fault("bad-output", "gave a PNG that is cut short")
        if data[at + 8 + length : at + 12 + length] != struct.pack(">I", zlib.crc32(data[at + 4 : at + 8 + length])):
            raise Fault("bad-output", "gave a damaged PNG")
        at += 12 + length
    width, height, bits, colors = struct.unpack_from(">IIBB", data, 16)
    return width, height, bits, colors
