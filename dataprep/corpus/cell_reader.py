"""Reads cells of column files by address, so that a process needs no index to read its rows.

A cell costs its row group (16 rows); the groups read last are kept, up to `cache_bytes`. Threads read at the same time,
each from another file: Parquet files are not shared, and nothing is held while one is read.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.corpus.column_files import ROW_GROUP_ROWS
from dataprep.errors import DataError
from dataprep.storage import store as storage

OPEN_FILES = 256
T = TypeVar("T")


@dataclass(frozen=True)
class RowPlace:
    """Where a row lies: its id, its position in the files of its shard, and the file of each column, by address."""

    id: str
    position: int
    files: tuple[tuple[str, str], ...]  # (column, address)


class CellReader:
    """Reads rows by their places. Safe to use from threads."""

    def __init__(self, cache_bytes: int = 256 << 20) -> None:
        self._groups: _Recent[pa.Table] = _Recent(cache_bytes)
        self._files: _Recent[_File] = _Recent(OPEN_FILES)

    def read(self, place: RowPlace) -> dict[str, Any]:
        """The row: `id`, what the `row` column knows where that is asked for, and each other column's bytes or None.

        Raises DataError where a file is missing or damaged, or holds another row at that position.
        """
        row: dict[str, Any] = {"id": place.id}
        for column, address in place.files:
            found = self._cell(address, place.position)
            if found["id"] != place.id:
                raise DataError(f"{address}: row {place.id} is not where the index says. Run: irodori corpus verify")
            row |= found if column == "row" else {column: found[column]}
        return row

    def _cell(self, address: str, position: int) -> dict[str, Any]:
        group, offset = divmod(position, ROW_GROUP_ROWS)
        key = address, group
        table = self._groups.get(key)
        if table is None:
            table = storage.patiently(address, lambda: self._file(address).read(group))
            self._groups.put(key, table, table.nbytes)
        if offset >= len(table):
            raise DataError(f"{address}: there is no row at {position}. Run: irodori corpus verify")
        cells: list[dict[str, Any]] = table.slice(offset, 1).to_pylist()
        return cells[0]

    def _file(self, address: str) -> "_File":
        file = self._files.get(address)
        if file is None:
            file = _File(address)
            self._files.put(address, file, 1)
        return file


class _File:
    """An open column file that one thread reads at a time."""

    def __init__(self, address: str) -> None:
        filesystem, path = storage.arrow_filesystem(address)
        self._lock = threading.Lock()
        self._parquet = pq.ParquetFile(path, filesystem=filesystem)

    def read(self, group: int) -> pa.Table:
        with self._lock:
            return self._parquet.read_row_group(group, use_threads=False)


class _Recent(Generic[T]):
    """What was used last, up to a total size; a lock is held for the look-up only."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: T, size: int) -> None:
        with self._lock:
            if key in self._entries:  # another thread was faster
                return
            self._entries[key] = value, size
            self._held += size
            while self._held > self._most and len(self._entries) > 1:
                self._held -= self._entries.popitem(last=False)[1][1]
