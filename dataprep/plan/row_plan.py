"""Which pictures become rows, and which shard each row lies in: a pure function of the scan records.

Rows are sorted by id. Of equal pictures (same bytes or same pixels) the first is kept, of nearly equal ones (perceptual
hashes within the filter's distance) the one with most pixels, of these a lossless one, of these the first; the others
become rejects that name it. A shard is named by the hash of what it holds, so equal
plans have equal names. Shards of an earlier snapshot stay as they are while all their rows still exist unchanged:
adding pictures adds shards, and removing a picture re-plans the rows of its shard only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.hashes import Hashes, Rows, find, first_equals, rising, short_hash, to_hex, unhex
from dataprep.corpus.schema import INDEX_SCHEMA, REJECT_SCHEMA
from dataprep.plan.corpus_recipe import CorpusRecipe
from dataprep.plan.near_duplicates import near_duplicates
from dataprep.plan.split import SPLITS, assign_splits
from dataprep.samples.buckets import assign_buckets

Flags = npt.NDArray[np.bool_]
_TAKEN_ROWS = 1_000_000  # at a time: below the 2 GiB that one Arrow array of strings may hold


@dataclass(frozen=True)
class Shard:
    """A fixed list of rows: positions in the plan's table, in id order. Equal names mean equal rows."""

    name: str
    split: str
    rows: Rows = field(compare=False)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Plan:
    """`rows`: records of the kept pictures with their `split` and `bucket`, by id; `rejects`: schema.REJECT_SCHEMA."""

    rows: pa.Table
    shards: tuple[Shard, ...]
    rejects: pa.Table

    def index(self) -> pa.Table:
        """Where each row lies (schema.INDEX_SCHEMA), sorted by id."""
        placed = np.concatenate([np.zeros(0, np.intp), *(shard.rows for shard in self.shards)])
        sizes = np.array([len(shard) for shard in self.shards], np.intp)
        shard, position = np.empty(len(self.rows), np.int32), np.empty(len(self.rows), np.int32)
        shard[placed] = np.repeat(np.arange(len(sizes)), sizes)
        position[placed] = np.arange(len(placed)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        columns = {name: self.rows[name] for name in ("id", "split", "bucket", "sketch_id")}
        columns |= {"shard": _named(shard, [entry.name for entry in self.shards]), "position": pa.array(position)}
        return pa.table([columns[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA)

    def bucket_counts(self) -> dict[str, dict[str, int]]:
        """Split -> bucket -> rows, of buckets that hold any."""
        counted = self.rows.group_by(["split", "bucket"]).aggregate([([], "count_all")])
        counts: dict[str, dict[str, int]] = {}
        for entry in counted.sort_by([("split", "ascending"), ("bucket", "ascending")]).to_pylist():
            counts.setdefault(entry["split"], {})[entry["bucket"]] = entry["count_all"]
        return counts


def make_plan(records: pa.Table, recipe: CorpusRecipe, earlier: pa.Table | None = None) -> Plan:
    """Plan judged scan records in listing order; `earlier` is the index of the newest snapshot.

    Of schema.SCAN_SCHEMA only these are needed: uri, group, id, sketch_id, width, height, lossless, pixel_hash, phash,
    assembly, reason, message. (dataprep.plan.filters.judge needs tags, which are too many to hold for all rows.)
    """
    usable = np.flatnonzero(pc.is_null(records["reason"]))
    ids = unhex(records["id"])[usable]
    order = rising(ids)
    usable, ids = usable[order], ids[order]
    pictures = _Pictures(
        ids,
        unhex(records["pixel_hash"])[usable],
        pc.fill_null(records["phash"], 0).to_numpy().astype(np.uint64, copy=False)[usable],
        np.asarray(pc.is_null(records["assembly"]))[usable],
        _pixels(records)[usable],
        _flags(records["lossless"])[usable],
    )
    kept, reason = _duplicates(pictures, recipe.filters.phash_distance)
    del pictures
    is_kept = kept == np.arange(len(kept))
    double = np.flatnonzero(~is_kept)
    rejects = _rejects(records, usable[double], reason[double], to_hex(ids[kept[double]]))
    rows, ids = _take(records, usable[is_kept]), ids[is_kept]
    if recipe.canvas.size:
        rows = _of_size(rows, recipe.canvas.size)
    splits = assign_splits(rows["group"], ids, recipe.validation_share)
    buckets = assign_buckets(rows["width"].to_numpy(), rows["height"].to_numpy(), recipe.buckets)
    rows = rows.append_column("split", _named(splits, SPLITS)).append_column("bucket", pa.array(buckets, pa.string()))
    return Plan(rows, tuple(_shards(ids, rows, recipe.shard_rows, earlier)), rejects)


@dataclass(frozen=True)
class _Pictures:
    """What decides which of several pictures are the same, and which of these is kept: arrays (N,), by rising id."""

    ids: Hashes
    pixel_hashes: Hashes
    phashes: npt.NDArray[np.uint64]
    found: Flags  # not assembled
    pixels: npt.NDArray[np.int64]
    lossless: Flags

    def best_first(self, rows: Rows) -> Rows:
        """These rows, the ones to be kept rather first: most pixels, then lossless, then the smallest id."""
        return np.asarray(rows[np.lexsort((rows, ~self.lossless[rows], -self.pixels[rows]))], np.intp)


def duplicates(rows: pa.Table, distance: int) -> tuple[Rows, npt.NDArray[np.object_]]:
    """For each row (sorted by id): the row it duplicates or itself, and the reason ("" for a row that is kept).

    Needs id, width, height, lossless (null: unknown, and taken for no), pixel_hash, phash and assembly.
    """
    pictures = _Pictures(
        unhex(rows["id"]),
        unhex(rows["pixel_hash"]),
        rows["phash"].to_numpy().astype(np.uint64, copy=False),
        np.asarray(pc.is_null(rows["assembly"])),
        _pixels(rows),
        _flags(rows["lossless"]),
    )
    return _duplicates(pictures, distance)


def _duplicates(pictures: _Pictures, distance: int) -> tuple[Rows, npt.NDArray[np.object_]]:
    """As `duplicates`."""
    count = len(pictures.ids)
    kept = np.arange(count)
    reason = np.full(count, "", object)
    for hashes, word in ((pictures.ids, "duplicate-file"), (pictures.pixel_hashes, "duplicate-pixels")):
        alive = np.flatnonzero(kept == np.arange(count))
        _mark(kept, reason, alive, first_equals(hashes[alive]), word)
    # Recolourings of one assembled drawing have nearly equal hashes: only found pictures are compared.
    alive = pictures.best_first(np.flatnonzero((kept == np.arange(count)) & pictures.found))
    _mark(kept, reason, alive, near_duplicates(pictures.phashes[alive], distance), "near-duplicate")
    return kept, reason


def _pixels(table: pa.Table) -> npt.NDArray[np.int64]:
    """Width times height, 0 where nothing was read."""
    width, height = (pc.fill_null(pc.cast(table[name], pa.int64()), 0) for name in ("width", "height"))
    return np.asarray(pc.multiply(width, height).to_numpy(), np.int64)


def _flags(column: pa.ChunkedArray) -> Flags:
    return np.asarray(pc.fill_null(column, False).to_numpy(), bool)


def _mark(kept: Rows, reason: npt.NDArray[np.object_], alive: Rows, representative: Rows, word: str) -> None:
    duplicate = representative != np.arange(len(alive))
    kept[alive[duplicate]] = alive[representative[duplicate]]
    reason[alive[duplicate]] = word


def _rejects(records: pa.Table, double: Rows, reasons: npt.NDArray[np.object_], kept_ids: pa.ChunkedArray) -> pa.Table:
    """What was refused before, with its words, and the duplicates, each with the id that was kept."""
    columns = ["id", "uri", "reason", "message"]
    refused = records.select(columns).filter(pc.is_valid(records["reason"]))
    plain = [*refused.select(columns[:3]), pc.fill_null(refused["message"], "")]
    doubles = [*_take(records.select(columns[:2]), double), pa.array(reasons, pa.string()), kept_ids]
    rejects = pa.concat_tables([pa.table(some, schema=REJECT_SCHEMA) for some in (plain, doubles)])
    return rejects.sort_by([(name, "ascending") for name in ("id", "reason", "source")])


def _take(table: pa.Table, rows: Rows) -> pa.Table:
    """Some rows of a table; columns go one by one, so that no more than one is in memory twice."""
    return pa.table([_taken(column, rows) for column in table.columns], schema=table.schema)


def _of_size(rows: pa.Table, side: int) -> pa.Table:
    """The rows with pictures of side x side, as they are on their canvas; the filters have judged the sources."""
    sides = pa.array(np.full(len(rows), side, np.int32))
    for name in ("width", "height"):
        rows = rows.set_column(rows.schema.get_field_index(name), name, sides)
    return rows


def _taken(column: pa.ChunkedArray, rows: Rows) -> pa.ChunkedArray:
    if pa.types.is_string(column.type):
        whole = column.cast(pa.large_string()).combine_chunks()
        blocks = [whole.take(rows[start : start + _TAKEN_ROWS]) for start in range(0, len(rows), _TAKEN_ROWS)]
        return pa.chunked_array([block.cast(pa.string()) for block in blocks], pa.string())
    return column.combine_chunks().take(rows) if column.num_chunks else column


def _named(codes: npt.NDArray[np.integer], names: Sequence[str]) -> pa.Array:
    """Codes (N,) as the names that they stand for."""
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string())).cast(pa.string())


def _shards(ids: Hashes, rows: pa.Table, shard_rows: int, earlier: pa.Table | None) -> Iterator[Shard]:
    sketches, splits = rows["sketch_id"].combine_chunks(), rows["split"]
    taken = np.zeros(len(ids), bool)
    for shard in _earlier_shards(ids, rows, earlier) if earlier is not None and len(earlier) else ():
        taken[shard.rows] = True
        yield shard
    for split in sorted(SPLITS):
        free = np.flatnonzero(~taken & np.asarray(pc.equal(splits, split)))
        for start in range(0, len(free), shard_rows):
            chosen = free[start : start + shard_rows]
            held = zip(to_hex(ids[chosen]).to_pylist(), sketches.take(chosen).to_pylist(), strict=True)
            yield Shard(shard_name(list(held)), split, chosen)


def _earlier_shards(ids: Hashes, rows: pa.Table, index: pa.Table) -> Iterator[Shard]:
    """The shards of an earlier snapshot whose rows are all rows still, with the same drawn sketch and split."""
    where = find(unhex(index["id"]), ids)
    is_same = where >= 0
    for name in ("split", "sketch_id"):
        now = _taken(rows[name], np.maximum(where, 0)) if len(rows) else pa.nulls(len(index), pa.string())
        is_same &= np.asarray(pc.equal(pc.fill_null(now, ""), pc.fill_null(index[name], "")))
    splits, names = (sorted(pc.unique(index[name]).to_pylist()) for name in ("split", "shard"))
    shard = _codes(index["split"], splits) * len(names) + _codes(index["shard"], names)
    order = np.argsort(shard << 32 | index["position"].to_numpy())
    numbers, start = np.unique(shard[order], return_index=True)
    whole = np.logical_and.reduceat(is_same[order], start)
    for number, is_whole, held in zip(numbers, whole, np.split(where[order], start[1:]), strict=True):
        if is_whole:
            yield Shard(names[number % len(names)], splits[number // len(names)], held)


def _codes(column: pa.ChunkedArray, names: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.asarray(pc.index_in(column, value_set=pa.array(names, pa.string())), np.int64)


def shard_name(content: Sequence[tuple[str, str | None]]) -> str:
    """The hash of the shard's pictures and drawn sketches: nothing else can change a derived cell of it."""
    return short_hash([list(pair) for pair in content])
