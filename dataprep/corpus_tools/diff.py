"""What one snapshot has that another has not: rows, facts, columns and rejects, within a corpus or between two.

Read from the tables of both; a column file is opened only where these leave open which of its rows differ. An operator
is a pure function of the row, so cells made at one fingerprint differ only where one of them failed; where a shard of
the same rows has other cells at the same fingerprint nevertheless, they are compared one by one.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.column_files import read_batches, read_rows
from dataprep.corpus.digest import row_hash, value_hash
from dataprep.corpus.hashes import HASH_BYTES, Hashes, find, unhex
from dataprep.corpus.row_index import Names
from dataprep.corpus.schema import column_schema
from dataprep.corpus.snapshot import Snapshot, open_snapshot
from dataprep.storage import store as storage

ROW = "row"
Counts = dict[str, int]
Place = tuple[str, str]  # split, shard


@dataclass(frozen=True)
class ColumnChange:
    """Of one derived column: fingerprints (None where it is absent), its files that are in one snapshot only, and how
    many of the rows that are in both have another cell."""

    old: str | None
    new: str | None
    files: int
    rows: int


@dataclass(frozen=True)
class Difference:
    """From the first snapshot to the second. Equal logical digests mean that nothing differs."""

    before: Mapping[str, Any]  # corpus, snapshot, digest
    after: Mapping[str, Any]
    added: Counts  # split -> rows
    removed: Counts
    moved: Counts  # "train to validation" -> rows in both
    facts: int  # rows in both whose group, tags, split or other facts changed
    columns: Mapping[str, ColumnChange]  # only those that changed
    rejects_added: Counts  # reason -> pictures
    rejects_removed: Counts

    @property
    def is_empty(self) -> bool:
        return not any((self.added, self.removed, self.facts, self.columns, self.rejects_added, self.rejects_removed))

    def document(self) -> dict[str, Any]:
        """All of it, JSON-able, and whether the digests are `equal`."""
        return asdict(self) | {"equal": self.before["digest"] == self.after["digest"]}

    def summary(self) -> str:
        """A line for each kind of difference."""
        lines = [f"{_at(self.before)} -> {_at(self.after)}"]
        counted = {"rows added": self.added, "rows removed": self.removed, "rows in another split": self.moved}
        counted |= {"rejects added": self.rejects_added, "rejects removed": self.rejects_removed}
        lines += [f"  {what}: {sum(counts.values()):,}{_listed(counts)}" for what, counts in counted.items() if counts]
        if self.facts:
            lines.append(f"  rows with other facts: {self.facts:,}")
        lines += [f"  column {name}: {_summary(change)}" for name, change in self.columns.items()]
        return "\n".join([*lines, "  nothing differs"] if self.is_empty else lines)


def parse_at(address: str) -> tuple[str, int | None]:
    """(URI, n) of "URI@n"; an address without a number at its end is whole, and means the newest snapshot. So does a
    folder whose own name ends so."""
    uri, at, number = address.rstrip("/").rpartition("@")
    numbered = at and uri and number.isascii() and number.isdigit()
    return (uri, int(number)) if numbered and not _is_folder(address) else (address, None)


def _is_folder(address: str) -> bool:
    return any(storage.list_folder(address)) if storage.is_s3(address) else os.path.isdir(address)


def diff(uri_a: str, number_a: int | None, uri_b: str, number_b: int | None) -> Difference:
    """From snapshot `number_a` of the corpus `uri_a` to `number_b` of `uri_b`; None is the newest.

    Raises DataError where a snapshot or a file that has to be read is missing or damaged.
    """
    a, b = _State(open_snapshot(uri_a, number_a)), _State(open_snapshot(uri_b, number_b))
    where = find(b.ids, a.ids)
    in_a, in_b = np.zeros(len(a.ids), bool), where >= 0
    in_a[where[in_b]] = True
    cells = _Cells(a, b, in_a, in_b)
    same = a.snapshot.digest == b.snapshot.digest
    return Difference(
        before=_named(a.snapshot),
        after=_named(b.snapshot),
        added=_by_split(b, b.place[~in_b]),
        removed=_by_split(a, a.place[~in_a]),
        moved=_moved(a, b, a.place[where[in_b]], b.place[in_b]),
        facts=0 if same else cells.changed_facts(),
        columns={} if same else cells.changed_columns(),
        rejects_added={} if same else _rejects(a.snapshot, b.snapshot),
        rejects_removed={} if same else _rejects(b.snapshot, a.snapshot),
    )


# ---- rows ---------------------------------------------------------------------------------------------------------


class _File(NamedTuple):
    path: str
    failed: int
    cells: str


class _State:
    """A snapshot: its rows as arrays, and its files by column and place."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        ids, places = [np.zeros((0, HASH_BYTES), np.uint8)], Names()
        for batch in snapshot.batches("index", ("id", "split", "shard")):
            ids.append(unhex(batch["id"]))
            places.add(pc.binary_join_element_wise(batch["split"], batch["shard"], "/"))
        names, self.place = places.coded()
        self.ids: Hashes = np.concatenate(ids)
        self.places: list[Place] = [(split, shard) for split, _, shard in (name.rpartition("/") for name in names)]

    @property
    def fingerprints(self) -> dict[str, str]:
        return {name: facts["fingerprint"] for name, facts in self.snapshot.document["operators"].items()}

    @cached_property
    def files(self) -> dict[str, dict[Place, _File]]:
        """Column -> place -> file."""
        columns: dict[str, dict[Place, _File]] = {name: {} for name in self.fingerprints}
        for batch in self.snapshot.batches("files", ("column", "split", "shard", *_File._fields)):
            for column, split, shard, *facts in zip(*(values.to_pylist() for values in batch.columns), strict=True):
                columns.setdefault(column, {})[split, shard] = _File(*facts)
        return columns

    def address(self, file: _File) -> str:
        return storage.join(self.snapshot.uri, file.path)


def _by_split(state: _State, place: npt.NDArray[np.int32]) -> Counts:
    """Split -> how many of these rows."""
    counts: Counter[str] = Counter()
    for (split, _), rows in zip(state.places, np.bincount(place, minlength=len(state.places)).tolist(), strict=True):
        counts[split] += rows
    return dict(sorted((+counts).items()))


def _moved(a: _State, b: _State, place_a: npt.NDArray[np.int32], place_b: npt.NDArray[np.int32]) -> Counts:
    """ "train to validation" -> how many rows; the places are those of each row that is in both."""
    names = sorted({split for split, _ in (*a.places, *b.places)})
    one, other = (
        np.array([names.index(split) for split, _ in state.places], np.intp)[place]
        for state, place in ((a, place_a), (b, place_b))
    )
    pairs, rows = np.unique((one * len(names) + other)[one != other], return_counts=True)
    moves = (f"{names[pair // len(names)]} to {names[pair % len(names)]}" for pair in pairs)
    return dict(zip(moves, rows.tolist(), strict=True))


def _rejects(before: Snapshot, after: Snapshot) -> Counts:
    """Reason -> pictures that are rejects of `after` and not of `before`."""
    parts = [
        table.append_column("more", pa.array(np.full(len(table), sign, np.int64)))
        for table, sign in ((before.table("rejects"), -1), (after.table("rejects"), 1))
    ]
    # A reject without an id (not one byte came) is known by its address.
    table = pa.concat_tables(parts).select(["id", "source", "reason", "more"])
    table = table.set_column(0, "id", pc.coalesce(table["id"], table["source"])).group_by(["id", "reason"])
    added = table.aggregate([("more", "sum")]).filter(pc.field("more_sum") > 0)
    by_reason = added.group_by("reason").aggregate([("more_sum", "sum")]).to_pylist()
    return {entry["reason"]: entry["more_sum_sum"] for entry in sorted(by_reason, key=lambda entry: entry["reason"])}


# ---- cells --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cells:
    """The cells of the rows that are in both snapshots: `in_a` (Na,) and `in_b` (Nb,) mark these rows."""

    a: _State
    b: _State
    in_a: npt.NDArray[np.bool_]
    in_b: npt.NDArray[np.bool_]

    def changed_facts(self) -> int:
        """Rows whose `row` cell differs."""
        hashed = [self._row_cells(state, side) for side, state in enumerate((self.a, self.b))]
        (ids_a, cells_a), (ids_b, cells_b) = hashed
        where = find(ids_b, ids_a)
        return int((cells_a[where[where >= 0]] != cells_b[where >= 0]).any(1).sum())

    def _row_cells(self, state: _State, side: int) -> tuple[Hashes, Hashes]:
        """(ids, hashes of the `row` cells) of the rows that may differ."""
        ids, cells = bytearray(), bytearray()
        for file in self._changed(ROW, side).values():
            for row_id, cell in _hashes(state, ROW, file):
                ids += bytes.fromhex(row_id)
                cells += cell
        return _stacked(ids), _stacked(cells)

    def changed_columns(self) -> dict[str, ColumnChange]:
        """The derived columns that are new, gone, made by another operator, or have other cells."""
        old, new = self.a.fingerprints, self.b.fingerprints
        changes = {
            column: ColumnChange(old.get(column), new.get(column), self._files(column), self._rows(column))
            for column in sorted((old.keys() | new.keys()) - {ROW})
        }
        return {column: change for column, change in changes.items() if change.old != change.new or change.rows}

    def _files(self, column: str) -> int:
        """Files whose cells no file of the other snapshot has."""
        ours, theirs = ({file.cells for file in state.files.get(column, {}).values()} for state in (self.a, self.b))
        return len(ours ^ theirs)

    def _rows(self, column: str) -> int:
        if self.a.fingerprints.get(column) != self.b.fingerprints.get(column):
            return int(self.in_a.sum())
        files_a, files_b = self._changed(column, 0), self._changed(column, 1)
        changed = 0
        for place in files_a.keys() & files_b.keys():
            cells = dict(_hashes(self.b, column, files_b[place]))
            changed += sum(cells.get(row_id) != cell for row_id, cell in _hashes(self.a, column, files_a[place]))
        apart = files_a.keys() ^ files_b.keys()
        one, other = (
            {row_id for place in files.keys() & apart for row_id in _failed(state, column, files[place])}
            for state, files in ((self.a, files_a), (self.b, files_b))
        )
        return changed + self._in_both(one ^ other)

    def _changed(self, column: str, side: int) -> dict[Place, _File]:
        """The column's files that hold rows of both snapshots and have no like in the same place of the other one."""
        state, other, in_both = ((self.a, self.b, self.in_a), (self.b, self.a, self.in_b))[side]
        held = {state.places[code] for code in np.unique(state.place[in_both])}
        theirs = other.files.get(column, {})
        return {
            place: file
            for place, file in state.files.get(column, {}).items()
            if place in held and not (place in theirs and theirs[place].cells == file.cells)
        }

    def _in_both(self, ids: set[str]) -> int:
        """How many of these ids are rows of both snapshots."""
        wanted = unhex(pa.array(sorted(ids), pa.string()))
        return int(self.in_a[find(self.a.ids, wanted) >= 0].sum()) if ids else 0


def _hashes(state: _State, column: str, file: _File) -> Iterator[tuple[str, bytes]]:
    """(id, hash of the cell) of each row of a file."""
    uri = state.address(file)
    for row in read_rows(storage.read_bytes(uri), column, uri):
        failed = row.get("error") is not None
        yield row["id"], row_hash(row) if column == ROW else value_hash(row[column], failed=failed)


def _failed(state: _State, column: str, file: _File) -> Iterator[str]:
    """The ids of the rows on which the operator failed; reads no values."""
    if file.failed:
        for batch in read_batches(state.address(file), column_schema(column), ("id", "error")):
            yield from batch["id"].filter(batch["error"].is_valid()).to_pylist()


def _stacked(hashes: bytearray) -> Hashes:
    return np.frombuffer(hashes, np.uint8).reshape(-1, HASH_BYTES)


# ---- words --------------------------------------------------------------------------------------------------------


def _named(snapshot: Snapshot) -> dict[str, Any]:
    return {"corpus": snapshot.uri, "snapshot": snapshot.number, "digest": snapshot.digest}


def _at(facts: Mapping[str, Any]) -> str:
    return f"{facts['corpus']}@{facts['snapshot']}"


def _summary(change: ColumnChange) -> str:
    if change.old is None or change.new is None:
        return f"{'removed' if change.new is None else 'added'}, {change.files:,} files"
    made = f"{change.old} -> {change.new}" if change.old != change.new else f"still {change.old}"
    return f"{change.rows:,} rows with other cells, operator {made}"


def _listed(counts: Counts) -> str:
    return f" ({', '.join(f'{name} {count:,}' for name, count in counts.items())})"
