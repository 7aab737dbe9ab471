"""Which split a row belongs to: a hash of its group (or id), so that no row moves when rows are added."""

from binascii import hexlify
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.hashes import BLOCK_ROWS, Hashes

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")


def assign_split(key: str, validation_share: float) -> Split:
    """The split of everything that carries `key`, the row's group or, without one, its id.

    A key stays in validation when the share grows. ValueError unless 0 <= validation_share <= 1.
    """
    _check(validation_share)
    return SPLITS[int(_places([key.encode()])[0] < validation_share)]


def assign_splits(groups: pa.ChunkedArray, ids: Hashes, validation_share: float) -> npt.NDArray[np.int8]:
    """`assign_split` of each row, (N,) into SPLITS, for groups (N,), null or empty where a row has none, and ids.

    Each distinct group is hashed once, and the id of each row without one.
    """
    _check(validation_share)
    distinct = pc.unique(groups.filter(pc.not_equal(groups, "")))
    group = pc.fill_null(pc.index_in(groups, value_set=distinct), -1).to_numpy()
    place = np.append(_places(name.encode() for name in distinct.to_pylist()), 0.0)[group]
    place[group < 0] = _places(_texts(ids[group < 0]))
    return (place < validation_share).astype(np.int8)


def _check(validation_share: float) -> None:
    if not 0.0 <= validation_share <= 1.0:
        raise ValueError(f"validation_share must be in [0, 1], got {validation_share}")


def _places(keys: Iterable[bytes]) -> npt.NDArray[np.float64]:
    """Where keys lie in [0, 1): the first 64 bits of their sha256."""
    first = b"".join([sha256(key).digest()[:8] for key in keys])
    return np.frombuffer(first, ">u8").astype(np.float64) / 2.0**64


def _texts(ids: Hashes) -> Iterator[bytes]:
    """Each id in hex digits."""
    for start in range(0, len(ids), BLOCK_ROWS):
        text = hexlify(ids[start : start + BLOCK_ROWS].tobytes())
        for place in range(0, len(text), 64):
            yield text[place : place + 64]
