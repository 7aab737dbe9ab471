"""Reads a corpus row by row, and says which row each training sample is.

The order of samples is a pure function of (seed, ordinal), never of rank or world size (DESIGN section 3). A row costs
one row group (16 rows) of each column; the groups read last are kept, up to `cache_bytes`. Safe to use from threads.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprep import storage
from dataprep.columns import ROW_GROUP_ROWS
from dataprep.errors import DataError
from dataprep.randomness import generator
from dataprep.snapshot import Snapshot, open_snapshot

OPEN_FILES = 64


@dataclass(frozen=True)
class SamplePlan:
    """Which of `rows` rows the sample at each ordinal is: every epoch is its own permutation of all rows."""

    rows: int
    seed: int

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError("a sample plan needs at least one row")

    def row_of(self, ordinal: int) -> int:
        """The row of global sample `ordinal` (0, 1, ...)."""
        epoch, position = divmod(ordinal, self.rows)
        return int(_permutation(self.rows, self.seed, epoch)[position])


@lru_cache(maxsize=4)
def _permutation(rows: int, seed: int, epoch: int) -> npt.NDArray[np.intp]:
    return generator(seed, epoch, "epoch").permutation(rows)


class CorpusReader:
    """The rows of one split of one snapshot, sorted by id, with the columns asked for.

    Raises DataError where there is no such corpus, split or column, or a file is missing or damaged.
    """

    def __init__(
        self,
        uri: str,
        split: str,
        columns: Sequence[str],
        snapshot: int | None = None,
        cache_bytes: int = 256 << 20,
    ) -> None:
        opened = open_snapshot(uri, snapshot)
        self.uri, self.split, self.columns = uri, split, tuple(columns)
        self.snapshot, self.digest = opened.number, opened.digest
        _check_columns(opened, columns)
        index = opened.table("index")
        index = index.filter(pc.equal(index["split"], split))
        if not len(index):
            raise DataError(f"{uri}: snapshot {opened.number} has no rows in split {split!r}.")
        self.ids: list[str] = index["id"].to_pylist()
        self._shards: list[str] = index["shard"].to_pylist()
        self._positions = index["position"].to_numpy()
        self._paths = _paths(opened, split, ("row", *columns))
        self._groups = _GroupCache(cache_bytes)

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, i: int) -> dict[str, Any]:
        """Row `i`: what the `row` column knows (id, group, tags, assembly, ...) and each column's bytes or None."""
        group, offset = divmod(int(self._positions[i]), ROW_GROUP_ROWS)
        row: dict[str, Any] = {}
        for column in ("row", *self.columns):
            path = storage.join(self.uri, self._paths[self._shards[i], column])
            values = self._groups.get(path, group).slice(offset, 1).to_pylist()[0]
            row |= values if column == "row" else {column: values[column]}
        if row["id"] != self.ids[i]:
            raise DataError(f"{self.uri}: row {self.ids[i]} is not where the index says. Run: irodori corpus verify")
        return row


def _check_columns(snapshot: Snapshot, columns: Sequence[str]) -> None:
    known = snapshot.document["operators"].keys() - {"row"}
    if unknown := [column for column in columns if column not in known]:
        raise DataError(f"{snapshot.uri}: no column {', '.join(unknown)}; there are {', '.join(sorted(known))}.")


def _paths(snapshot: Snapshot, split: str, columns: Sequence[str]) -> dict[tuple[str, str], str]:
    """(shard, column) -> path of the file."""
    files = snapshot.table("files")
    wanted = pc.and_(pc.equal(files["split"], split), pc.is_in(files["column"], pa.array(columns)))
    rows = files.filter(wanted).select(["shard", "column", "path"]).to_pylist()
    return {(row["shard"], row["column"]): row["path"] for row in rows}


class _GroupCache:
    """Row groups by (file, number), the least recently used go first; one lock, since Parquet files are not shared."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._groups: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()
        self._files: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str, group: int) -> pa.Table:
        with self._lock:
            key = path, group
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
            with storage.explained(path):
                table = self._file(path).read_row_group(group)
            self._groups[key] = table
            self._bytes += table.nbytes
            while self._bytes > self._most_bytes and len(self._groups) > 1:
                self._bytes -= self._groups.popitem(last=False)[1].nbytes
            return table

    def _file(self, path: str) -> pq.ParquetFile:
        if path not in self._files:
            filesystem, arrow_path = storage.arrow_filesystem(path)
            self._files[path] = pq.ParquetFile(arrow_path, filesystem=filesystem)
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(path)
        return self._files[path]
