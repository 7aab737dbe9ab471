"""Reads a corpus row by row, in any order, from any thread.

The index is held as arrays (dataprep.corpus.row_index): a reader of six million rows starts within seconds. Which row
each training sample is follows from dataprep.samples.sample_plan.
"""

from collections.abc import Sequence
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

    def place(self, i: int) -> RowPlace:
        """Where row `i` lies, for reading it elsewhere."""
        shard = self.index.shard(i)
        files = tuple((column, storage.join(self.uri, self._paths[shard, column])) for column in self._opened)
        return RowPlace(self.index.id(i), self.index.position(i), files)

    def group_codes(self) -> npt.NDArray[np.int32]:
        """(N,): rows of one group have the same number, a row without a group one of its own.

        Reads the `group` of every row, a file for each shard.
        """
        paths = _paths(open_snapshot(self.uri, self.snapshot), self.split, ["row"])
        codes, numbers = np.full(len(self), -1, np.int32), dict[str, int]()
        by_shard = np.argsort(self.index.shard_codes, kind="stable")
        starts = np.searchsorted(self.index.shard_codes[by_shard], np.arange(1, len(self.index.shards)))
        for shard, rows in zip(self.index.shards, np.split(by_shard, starts), strict=True):
            address = storage.join(self.uri, paths[shard, "row"])
            batches = read_batches(address, ROW_SCHEMA, ["group"])
            groups = [group for batch in batches for group in batch["group"].to_pylist()]
            for row in rows:
                group = groups[self.index.position(row)]
                codes[row] = -1 if group is None else numbers.setdefault(group, len(numbers))
        alone = codes == -1
        codes[alone] = len(numbers) + np.arange(np.count_nonzero(alone))
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
