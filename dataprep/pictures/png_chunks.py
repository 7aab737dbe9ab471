"""Chunks of a PNG as they are written (ISO/IEC 15948, 5.3): a length, a kind, a body, and the checksum of the two."""

import struct
import zlib

HEADER_END = 33  # bytes: signature and IHDR


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """The whole chunk: its body and 12 bytes."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def behind_header(png: bytes, chunks: bytes) -> bytes:
    """The PNG with `chunks` before its pixels, after which readers expect nothing; the pixels are untouched."""
    return png[:HEADER_END] + chunks + png[HEADER_END:]
