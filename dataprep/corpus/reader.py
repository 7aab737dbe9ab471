"""Reads a corpus row by row, in any order, from any thread.

The index is held as arrays (dataprep.corpus.row_index): a reader of six million rows starts within seconds. Which row
each training sample is follows from dataprep.samples.sample_plan.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.cell_reader import CellReader, RowPlace
from dataprep.corpus.column_files import read_batches
from dataprep.corpus.row_index import RowIndex
from dataprep.corpus.schema import ROW_SCHEMA
from dataprep.corpus.snapshot import Snapshot, open_snapshot
from dataprep.errors import DataError
from dataprep.storage import store as storage

LOOKED_AT = 64  # rows, before work starts that needs a column of all


class CorpusReader:
    """The rows of one split of one snapshot, sorted by id, with the columns asked for.

    `facts` False leaves out the `row` column (group, tags, assembly, ...): one file less to open for each row, which
    training does not need. Raises DataError where there is no such corpus, split or column, or a file is missing or
    damaged.
    """

    def __init__(
        self,
        uri: str,
        split: str,
        columns: Sequence[str],
        snapshot: int | None = None,
        cache_bytes: int = 256 << 20,
        facts: bool = True,
    ) -> None:
        opened = open_snapshot(uri, snapshot)
        self.uri, self.split, self.columns = uri, split, tuple(columns)
        self.snapshot, self.digest = opened.number, opened.digest
        _check_columns(opened, columns)
        self.index = RowIndex.open(opened, split)
        if not len(self.index):
            raise DataError(f"{uri}: snapshot {opened.number} has no rows in split {split!r}.")
        self._opened = ("row", *columns) if facts else self.columns
        self._paths = _paths(opened, split, self._opened)
        self._cells = CellReader(cache_bytes)

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def ids(self) -> list[str]:
        """The ids of all rows, as strings: for the few thousand rows of an evaluation, not for millions."""
        return [self.index.id(i) for i in range(len(self))]

    def row(self, i: int) -> dict[str, Any]:
        """Row `i`: its `id`, the facts (group, tags, assembly, ...) unless left out, each column's bytes or None."""
        return self._cells.read(self.place(i))

    def lacking(self, column: str) -> tuple[int, int]:
        """How many of up to LOOKED_AT rows, spread evenly, have no value in that column; how many were looked at."""
        rows = np.unique(np.linspace(0, len(self) - 1, LOOKED_AT, dtype=int)).tolist()
        return sum(self.row(index)[column] is None for index in rows), len(rows)

    def place(self, i: int) -> RowPlace:
        """Where row `i` lies, for reading it elsewhere."""
        shard = self.index.shard(i)
        files = tuple((column, storage.join(self.uri, self._paths[shard, column])) for column in self._opened)
        return RowPlace(self.index.id(i), self.index.position(i), files)

    def group_codes(self) -> npt.NDArray[np.int32]:
        """(N,): rows of one group have the same number, a row without a group one of its own.

        Reads the `group` of every row, a file for each shard.
        """
        codes, numbers = np.full(len(self), -1, np.int32), dict[str, int]()
        for rows, groups in self._fact("group"):
            for row, group in zip(rows, groups, strict=True):
                codes[row] = -1 if group is None else numbers.setdefault(group, len(numbers))
        return _numbered(codes, len(numbers))

    def assembled_codes(self) -> npt.NDArray[np.int32]:
        """(N,): all assembled rows have one number, every other row one of its own.

        Reads the `assembly` of every row, a file for each shard.
        """
        codes = np.full(len(self), -1, np.int32)
        for rows, assemblies in self._fact("assembly"):
            codes[rows[[assembly is not None for assembly in assemblies]]] = 0
        return _numbered(codes, 1)

    def _fact(self, name: str) -> Iterator[tuple[npt.NDArray[np.intp], list[Any]]]:
        """Shard by shard, its rows of this split and what the `row` column holds of them under a name."""
        paths = _paths(open_snapshot(self.uri, self.snapshot), self.split, ["row"])
        by_shard = np.argsort(self.index.shard_codes, kind="stable")
        starts = np.searchsorted(self.index.shard_codes[by_shard], np.arange(1, len(self.index.shards)))
        for shard, rows in zip(self.index.shards, np.split(by_shard, starts), strict=True):
            address = storage.join(self.uri, paths[shard, "row"])
            batches = read_batches(address, ROW_SCHEMA, [name])
            values = [value for batch in batches for value in batch[name].to_pylist()]
            yield rows, [values[self.index.position(row)] for row in rows]


def _numbered(codes: npt.NDArray[np.int32], after: int) -> npt.NDArray[np.int32]:
    """The codes, where -1 becomes a number of its own, from `after` on."""
    alone = codes == -1
    codes[alone] = after + np.arange(np.count_nonzero(alone))
    return codes


def _check_columns(snapshot: Snapshot, columns: Sequence[str]) -> None:
    known = snapshot.document["operators"].keys() - {"row"}
    if unknown := [column for column in columns if column not in known]:
        raise DataError(f"{snapshot.uri}: no column {', '.join(unknown)}; there are {', '.join(sorted(known))}.")


def _paths(snapshot: Snapshot, split: str, columns: Sequence[str]) -> dict[tuple[str, str], str]:
    """(shard, column) -> path of the file."""
    files = snapshot.table("files")
    wanted = pc.and_(pc.equal(files["split"], split), pc.is_in(files["column"], pa.array(columns)))
    found = files.filter(wanted)
    shards, names, paths = (found[name].to_pylist() for name in ("shard", "column", "path"))
    return dict(zip(zip(shards, names, strict=True), paths, strict=True))
