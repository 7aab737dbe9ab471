"""Hashes of the corpus: short ones of settings, and many at once as NumPy bytes without a Python object for each.

Six million ids take 192 MB as 32 bytes each, 384 MB as Arrow strings and 0.7 GB as Python strings.
"""

import hashlib
import json
from binascii import hexlify, unhexlify
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

HASH_BYTES = 32
BLOCK_ROWS = 65_536  # converted at a time, so that temporary arrays stay small

Hashes = npt.NDArray[np.uint8]  # (N, 32)
Rows = npt.NDArray[np.intp]


def short_hash(value: Any) -> str:
    """12 hex digits of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def unhex(hexes: pa.ChunkedArray | pa.Array) -> Hashes:
    """Strings of 64 hex digits, (N,), as bytes (N, 32); a null gives zeros. ValueError for anything else."""
    hashes = np.zeros((len(hexes), HASH_BYTES), np.uint8)
    done = 0
    for chunk in hexes.chunks if isinstance(hexes, pa.ChunkedArray) else (hexes,):
        for start in range(0, len(chunk), BLOCK_ROWS):
            block = chunk.slice(start, BLOCK_ROWS)
            there = np.asarray(block.is_valid())
            hashes[done : done + len(block)][there] = _parsed(block.drop_null())
            done += len(block)
    return hashes


def to_hex(hashes: Hashes) -> pa.ChunkedArray:
    """Bytes (N, 32) as Arrow strings of 64 hex digits, (N,)."""
    blocks = (hashes[start : start + BLOCK_ROWS] for start in range(0, len(hashes), BLOCK_ROWS))
    return pa.chunked_array([_printed(block) for block in blocks], pa.string())


def rising(hashes: Hashes) -> Rows:
    """The order, (N,), in which hashes rise, as their hex digits do; equal ones stay as they come."""
    first = _words(hashes)[:, 0]
    order = np.argsort(first, kind="stable")
    tied = first[order[1:]] == first[order[:-1]]
    in_run = np.zeros(len(order), bool)
    in_run[1:] |= tied
    in_run[:-1] |= tied
    some = order[in_run]  # the first 64 bits decide all others
    order[in_run] = some[np.lexsort(_words(hashes[some]).T[::-1])]
    return order


def first_equals(hashes: Hashes) -> Rows:
    """For each hash the first row, (N,), that holds an equal one: its own where there is none before it."""
    order = rising(hashes)
    new = np.ones(len(order), bool)
    new[1:] = (hashes[order[1:]] != hashes[order[:-1]]).any(1)
    first = np.empty_like(order)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


def find(wanted: Hashes, among: Hashes) -> Rows:
    """For each wanted hash the first row of `among` that holds it, (N,), or -1."""
    found = pc.index_in(_fixed(wanted), value_set=_fixed(among))
    return np.asarray(pc.fill_null(found, -1), dtype=np.intp)


def _words(hashes: Hashes) -> npt.NDArray[np.uint64]:
    """The four 64-bit words of each hash, (N, 4), highest first."""
    return np.ascontiguousarray(hashes).view(">u8").astype(np.uint64)


def _fixed(hashes: Hashes) -> pa.FixedSizeBinaryArray:
    buffers = [None, pa.py_buffer(np.ascontiguousarray(hashes))]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(HASH_BYTES), len(hashes), buffers)


def _parsed(block: pa.StringArray) -> Hashes:
    if not len(block):
        return np.zeros((0, HASH_BYTES), np.uint8)
    offsets = np.frombuffer(block.buffers()[1], np.int32)[block.offset : block.offset + len(block) + 1]
    if (np.diff(offsets) != 2 * HASH_BYTES).any():
        raise ValueError(f"a hash has {2 * HASH_BYTES} hex digits")
    digits = block.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    return np.frombuffer(unhexlify(digits), np.uint8).reshape(-1, HASH_BYTES)


def _printed(block: Hashes) -> pa.StringArray:
    offsets = np.arange(len(block) + 1, dtype=np.int32) * (2 * HASH_BYTES)
    return pa.StringArray.from_buffers(len(block), pa.py_buffer(offsets), pa.py_buffer(hexlify(block.tobytes())))
