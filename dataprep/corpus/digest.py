"""The logical digest of a corpus: what is in it, not where or in which files.

Each cell contributes sha256(id, column, fingerprint, cell sha256) and each reject sha256(id, reason), and these are
added modulo 2^256. A sum does not depend on order, so that shards can be summed apart, on any number of workers, in
any layout, and merged without sorting six million rows. One sha256 over the sum and the counts closes it. (This is
AdHash of Bellare and Micciancio, 1997: it finds damage and difference; it does not resist somebody who searches for
colliding multisets.)
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_MODULUS = 1 << 256
_NOT_IN_DIGEST = ("id", "source")  # the id is in every hash already; the address is not content


def value_hash(value: bytes | None, *, failed: bool = False) -> bytes:
    """The hash of one cell: a value, none, or a failure are three different things."""
    tag = b"failed" if failed else b"none" if value is None else b"value"
    return hashlib.sha256(tag + (value or b"")).digest()


def row_hash(row: dict[str, Any]) -> bytes:
    """The hash of the `row` column's cell: all fields but the address, as sorted JSON."""
    fields = {name: value for name, value in row.items() if name not in _NOT_IN_DIGEST}
    return value_hash(json.dumps(fields, sort_keys=True).encode())


def metadata_hash(row: Mapping[str, Any]) -> int:
    """64 bits of what a source says about a picture, which may change while the picture stays."""
    known = [row[name] for name in ("source", "group", "tags", "rating", "score", "caption")]
    return int.from_bytes(hashlib.sha256(json.dumps(known).encode()).digest()[:8])


def metadata_variant(hashes: Sequence[int] | npt.NDArray[np.uint64]) -> str:
    """8 hex digits of what the sources say about the pictures of a shard, in its order: the variant of its row file."""
    return hashlib.sha256(np.asarray(hashes, np.uint64).tobytes()).hexdigest()[:8]


def cells_digest(column: str, fingerprint: str, cells: Iterable[tuple[str, bytes]]) -> str:
    """The sum over one file's (id, cell hash) pairs, as 64 hex digits."""
    return _hex(sum(_term("cell", row_id, column, fingerprint, cell.hex()) for row_id, cell in cells))


def rejects_digest(rejects: Iterable[tuple[str | None, str]]) -> str:
    """The sum over (id, reason) pairs, as 64 hex digits."""
    return _hex(sum(_term("reject", row_id or "", reason) for row_id, reason in rejects))


def corpus_digest(cells: Iterable[str], rejects: str, counts: dict[str, int]) -> str:
    """sha256 over the sum of all files' cells, the rejects' sum and the counts."""
    total = _hex(sum(int(part, 16) for part in cells))
    return hashlib.sha256(json.dumps([total, rejects, counts], sort_keys=True).encode()).hexdigest()


def _term(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest())


def _hex(total: int) -> str:
    return f"{total % _MODULUS:064x}"
