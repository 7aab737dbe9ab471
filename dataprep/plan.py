"""Which pictures become rows, and which shard each row lies in: a pure function of the scan records.

Rows are sorted by id. Of equal pictures (same bytes, same pixels, or perceptual hashes within the filter's distance)
the first is kept and the others become rejects that name it. A shard is named by the hash of what it holds, so equal
plans have equal names. Shards of an earlier snapshot stay as they are while all their rows still exist unchanged:
adding pictures adds shards, and removing a picture re-plans the rows of its shard only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.buckets import assign_buckets
from dataprep.near_duplicates import near_duplicates
from dataprep.operators import CorpusRecipe, short_hash
from dataprep.schema import INDEX_SCHEMA, REJECT_SCHEMA
from dataprep.split import assign_split

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Shard:
    """A fixed list of rows: positions in the plan's table, in id order."""

    name: str
    split: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """`rows`: scan records of the kept pictures with their `split`, sorted by id; `rejects`: schema.REJECT_SCHEMA."""

    rows: pa.Table
    shards: tuple[Shard, ...]
    rejects: pa.Table

    def index(self) -> pa.Table:
        """Where each row lies (schema.INDEX_SCHEMA), sorted by id."""
        shard, position = np.empty(len(self.rows), object), np.empty(len(self.rows), np.int32)
        for entry in self.shards:
            rows = list(entry.rows)
            shard[rows], position[rows] = entry.name, np.arange(len(rows))
        columns = {name: self.rows[name] for name in ("id", "split", "bucket", "sketch_id")}
        columns |= {"shard": pa.array(shard, pa.string()), "position": pa.array(position)}
        return pa.table([columns[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA)


def make_plan(records: pa.Table, recipe: CorpusRecipe, earlier: pa.Table | None = None) -> Plan:
    """Plan judged scan records in listing order; `earlier` is the index of the newest snapshot.

    Of schema.SCAN_SCHEMA only these are needed: uri, group, id, sketch_id, width, height, pixel_hash, phash, assembly,
    reason, message. (dataprep.filters.judge needs tags, which are too many to hold for all rows.)
    """
    refused = pc.is_valid(records["reason"])
    usable = records.filter(pc.invert(refused))
    usable = usable.append_column("order", pa.array(np.arange(len(usable))))
    usable = usable.sort_by([("id", "ascending"), ("order", "ascending")]).drop_columns("order")
    kept_row, reason = duplicates(usable, recipe.filters.phash_distance)
    is_kept = reason == ""
    rows = usable.filter(pa.array(is_kept))
    splits = [
        assign_split(group or row_id, recipe.validation_share)
        for group, row_id in zip(rows["group"].to_pylist(), rows["id"].to_pylist(), strict=True)
    ]
    rows = rows.append_column("split", pa.array(splits, pa.string()))
    buckets = assign_buckets(rows["width"].to_numpy(), rows["height"].to_numpy(), recipe.buckets)
    rows = rows.append_column("bucket", pa.array(buckets, pa.string()))
    doubles = _rejects(usable.filter(pa.array(~is_kept)), reason[~is_kept], usable["id"].take(kept_row[~is_kept]))
    plain = records.filter(refused)
    rejects = pa.concat_tables([_rejects(plain, plain["reason"], plain["message"]), doubles])
    rejects = rejects.sort_by([(name, "ascending") for name in ("id", "reason", "source")])
    return Plan(rows, tuple(_shards(rows, recipe.shard_rows, earlier)), rejects)


def duplicates(rows: pa.Table, distance: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.str_]]:
    """For each row (sorted by id): the row it duplicates or itself, and the reason ("" for a row that is kept)."""
    kept = np.arange(len(rows))
    reason = np.full(len(rows), "", dtype="U16")
    for column, word in (("id", "duplicate-file"), ("pixel_hash", "duplicate-pixels")):
        alive = np.flatnonzero(reason == "")
        _, first, inverse = np.unique(_fixed(rows[column])[alive], return_index=True, return_inverse=True)
        _mark(kept, reason, alive, first[inverse], word)
    # Recolourings of one assembled drawing have nearly equal hashes: only found pictures are compared.
    alive = np.flatnonzero((reason == "") & pc.is_null(rows["assembly"]).to_numpy())
    hashes = rows["phash"].to_numpy().astype(np.uint64)[alive]
    _mark(kept, reason, alive, near_duplicates(hashes, distance), "near-duplicate")
    return kept, reason


def _mark(
    kept: npt.NDArray[np.intp],
    reason: npt.NDArray[np.str_],
    alive: npt.NDArray[np.intp],
    representative: npt.NDArray[np.intp],
    word: str,
) -> None:
    duplicate = representative != np.arange(len(alive))
    kept[alive[duplicate]] = alive[representative[duplicate]]
    reason[alive[duplicate]] = word


def _fixed(hexes: pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """Hex strings as a fixed-width array: half the memory of Python strings, and sortable."""
    return np.array(hexes.to_pylist(), dtype="S64")


def _rejects(records: pa.Table, reasons: Iterable[str], messages: Iterable[str]) -> pa.Table:
    columns = [records["id"], records["uri"], _strings(reasons), _strings(messages)]
    return pa.table(columns, schema=REJECT_SCHEMA)


def _strings(values: Iterable[str] | pa.ChunkedArray) -> pa.ChunkedArray:
    array = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(list(values), pa.string())])
    return pc.fill_null(array, "")


def _shards(rows: pa.Table, shard_rows: int, earlier: pa.Table | None) -> Iterable[Shard]:
    ids, splits, sketches = (rows[name].to_pylist() for name in ("id", "split", "sketch_id"))
    content = list(zip(ids, sketches, strict=True))
    taken = np.zeros(len(ids), bool)
    if earlier is not None:
        where = {(*pair, split): row for row, (pair, split) in enumerate(zip(content, splits, strict=True))}
        for name, split, held in _earlier_shards(earlier):
            here = [where.get((*pair, split)) for pair in held]
            found = tuple(row for row in here if row is not None)
            if len(found) == len(held):
                taken[list(found)] = True
                yield Shard(name, split, found)
    split_of = np.array(splits, dtype="U16")
    for split in sorted(set(splits)):
        free = np.flatnonzero(~taken & (split_of == split))
        for start in range(0, len(free), shard_rows):
            chosen = tuple(int(row) for row in free[start : start + shard_rows])
            yield Shard(shard_name([content[row] for row in chosen]), split, chosen)


def shard_name(content: Sequence[tuple[str, str | None]]) -> str:
    """The hash of the shard's pictures and drawn sketches: nothing else can change a derived cell of it."""
    return short_hash([list(pair) for pair in content])


def _earlier_shards(index: pa.Table) -> Iterable[tuple[str, str, list[tuple[str, str | None]]]]:
    """(shard, split, its pictures in order) of an earlier snapshot."""
    ordered = index.sort_by([("split", "ascending"), ("shard", "ascending"), ("position", "ascending")])
    shards: dict[tuple[str, str], list[tuple[str, str | None]]] = {}
    for row in ordered.to_pylist():
        shards.setdefault((row["shard"], row["split"]), []).append((row["id"], row["sketch_id"]))
    for (name, split), held in shards.items():
        yield name, split, held
