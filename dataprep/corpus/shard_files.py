"""The shards of a snapshot one after another: their files, and the ids that each file must hold.

Nothing here holds more Python objects than one shard needs; the tables stay Arrow.
"""

import re
from collections.abc import Iterator, KeysView
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.column_files import ColumnFile, column_path
from dataprep.corpus.snapshot import Snapshot
from dataprep.errors import DataError

# What becomes part of a path. A corpus may come from elsewhere, and its names must not lead out of where they belong.
_SAFE = {
    "split": re.compile(r"[a-z]+"),
    "shard": re.compile(r"[0-9a-f]+"),
    "column": re.compile(r"[A-Za-z0-9_]+"),
    "fingerprint": re.compile(r"[0-9a-z]+"),
}
_VARIANT = re.compile(r"[0-9a-z]*(-[0-9a-z]+)*")
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ShardFiles:
    """A shard and, by column, what the snapshot says of its files."""

    split: str
    shard: str
    files: dict[str, ColumnFile]


class ShardIds:
    """Which ids each shard holds, in order, looked up by (split, shard): some 100 bytes for each row."""

    def __init__(self, index: pa.Table) -> None:
        keys = [("split", "ascending"), ("shard", "ascending"), ("position", "ascending")]
        ordered = index.select(["split", "shard", "position", "id"]).sort_by(keys)
        self._ids, self._positions = ordered["id"], ordered["position"].to_numpy()
        self._runs = {(split, shard): (start, end) for split, shard, start, end in _runs(ordered)}

    def keys(self) -> KeysView[tuple[str, str]]:
        return self._runs.keys()

    def of(self, split: str, shard: str) -> list[str]:
        """The ids in order of position; none for an unknown shard. ValueError where a position is not held once."""
        start, end = self._runs.get((split, shard), (0, 0))
        if not np.array_equal(self._positions[start:end], np.arange(end - start)):
            raise ValueError(f"the positions of shard {shard} are not 0 to {end - start - 1}, each once")
        ids: list[str] = self._ids.slice(start, end - start).to_pylist()
        return ids


def shards(snapshot: Snapshot, split: str | None = None) -> Iterator[ShardFiles]:
    """The shards in order of split and name. Raises DataError where the snapshot's table of files is damaged."""
    files = snapshot.table("files")
    if split is not None:
        files = files.filter(pc.equal(files["split"], split))
    files = files.sort_by([("split", "ascending"), ("shard", "ascending"), ("column", "ascending")])
    for of_split, shard, start, end in _runs(files):
        rows = [ColumnFile(**fields) for fields in files.slice(start, end - start).to_pylist()]
        for row in rows:
            _check_names(snapshot, row)
        yield ShardFiles(of_split, shard, {row.column: row for row in rows})


def check_id(row_id: object, path: str) -> None:
    """Raises DataError unless the id of a row of `path` is a sha256: files are named for it."""
    if not isinstance(row_id, str) or not _ID.fullmatch(row_id):
        raise DataError(f"{path}: {row_id!r} is no id of a row (64 hex digits). Run: irodori corpus verify")


def _check_names(snapshot: Snapshot, file: ColumnFile) -> None:
    plain = all(pattern.fullmatch(getattr(file, name)) for name, pattern in _SAFE.items())
    stem = column_path(file.split, file.shard, file.column, file.fingerprint).removesuffix(".parquet")
    variant = file.path.removeprefix(stem).removesuffix(".parquet").removeprefix("-")
    expected = column_path(file.split, file.shard, file.column, file.fingerprint, variant)
    if not plain or not _VARIANT.fullmatch(variant) or file.path != expected:
        table = snapshot.document["tables"]["files"]["path"]
        raise DataError(
            f"{snapshot.uri}: {table} names {file.path!r} for column {file.column!r} of shard {file.shard!r}, which "
            "is no place of that file in a corpus. The table is damaged, or made to write elsewhere: do not use it."
        )


def _runs(ordered: pa.Table) -> list[tuple[str, str, int, int]]:
    """(split, shard, first row, row after the last) of a table that is sorted by them."""
    if not len(ordered):
        return []
    codes = [pc.dictionary_encode(ordered[name]).combine_chunks() for name in ("split", "shard")]
    changes = np.zeros(len(ordered), bool)
    for code in codes:
        indices = code.indices.to_numpy()
        changes[1:] |= indices[1:] != indices[:-1]
    starts = np.concatenate([[0], np.flatnonzero(changes)])
    ends = np.append(starts[1:], len(ordered))
    firsts = [code.take(pa.array(starts)).to_pylist() for code in codes]
    return list(zip(*firsts, starts.tolist(), ends.tolist(), strict=True))
