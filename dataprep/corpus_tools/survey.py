"""What the rows of a snapshot are like: sizes, tags, ratings, scores, groups, and why operators failed.

Only the small `row` files are read, one request a shard, and only the columns that are counted. Above `most_shards` a
seeded choice of shards stands for all, and the survey says so. Tags are counted in Arrow, shard by shard, so that the
memory of a survey is that of its distinct tags and some 60 bytes a row.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprep.corpus.column_files import ROW_GROUP_ROWS, failure_reason
from dataprep.corpus.schema import REJECT_SCHEMA
from dataprep.corpus.snapshot import Snapshot
from dataprep.documents import parse_document
from dataprep.errors import DataError
from dataprep.randomness import generator
from dataprep.storage import store as storage

MOST_SHARDS = 1000  # a quarter of a million rows: some ten seconds on a local disk
READERS = 8
COUNTED = ("group", "width", "height", "tags", "rating", "score", "bucket")
TAG_COUNTS = pa.schema([("tag", pa.string()), ("count", pa.int64())])

Task = TypeVar("Task")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Survey:
    """`rows`: group, width, height, rating, score, bucket, split, shard, position of every row read.

    `tags`: (tag, count), most frequent first. `unread`: what could not be read, one line each.
    """

    rows: pa.Table
    tags: pa.Table
    shards_read: int
    shards: int
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class FailureCount:
    """How often an operator failed for one reason, with a few `examples` of "id: message"."""

    column: str
    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One value of one row; `value` None with an `error` where the operator failed, without one where there is none."""

    value: bytes | None
    error: str | None


def survey(snapshot: Snapshot, most_shards: int = MOST_SHARDS, seed: int = 0) -> Survey:
    """Read the rows of at most `most_shards` shards (0: of all)."""
    files = snapshot.table("files")
    files = files.filter(pc.equal(files["column"], "row")).select(["split", "shard", "path"])
    chosen = files.take(_choice(len(files), most_shards, seed, "survey")).to_pylist()
    rows, tags, unread = [], TAG_COUNTS.empty_table(), []
    for part in in_threads(lambda file: _read_shard(snapshot.uri, file), chosen):
        if isinstance(part, str):
            unread.append(part)
            continue
        rows.append(part[0])
        tags = _merged(tags, part[1])
    tags = _merged(tags).sort_by([("count", "descending"), ("tag", "ascending")])
    table = pa.concat_tables(rows) if rows else _rows_of(pa.table({name: [] for name in COUNTED}), "", "")
    return Survey(table, tags, len(rows), len(files), tuple(unread))


def failures(snapshot: Snapshot, examples: int = 3, most_files: int = 40) -> list[FailureCount]:
    """Why operators failed, counted over all files; examples come from the first `most_files` with failures."""
    files = snapshot.table("files")
    failed = files.filter(pc.greater(files["failed"], 0)).select(["column", "path", "reasons"]).to_pylist()
    counts: Counter[tuple[str, str]] = Counter()
    for file in failed:
        reasons = parse_document(file["reasons"], dict[str, int], f"{snapshot.uri}: the reasons of {file['path']}")
        counts.update({(file["column"], reason): count for reason, count in reasons.items()})
    shown: dict[tuple[str, str], list[str]] = {key: [] for key in counts}
    for file in failed[:most_files]:
        for row_id, message in _errors(snapshot.uri, file["path"]):
            messages = shown.get((file["column"], failure_reason(message)), [])
            messages += [f"{row_id[:12]}: {message}"] if len(messages) < examples else []
    return [FailureCount(*key, count, tuple(shown[key])) for key, count in counts.most_common()]


@dataclass(frozen=True)
class IndexView:
    """What one pass over the index gives: the rows at some ordinals, where some ids lie, and how full buckets are."""

    picked: list[dict[str, Any]]  # id, split, shard, position
    found: dict[str, dict[str, Any]]  # id -> the same
    buckets: dict[tuple[str, str], int]  # (split, bucket) -> rows


def look_up(snapshot: Snapshot, samples: int, ids: Sequence[str], seed: int = 0) -> IndexView:
    """Draw `samples` rows without replacement and find the rows with these ids; ids that are no rows are left out."""
    rows = sum(snapshot.document["rows"].values())
    drawn = generator(seed, 0, "browse").choice(rows, min(samples, rows), replace=False)
    picked: dict[int, dict[str, Any]] = {}
    found: dict[str, dict[str, Any]] = {}
    buckets: Counter[tuple[str, str]] = Counter()
    wanted, start = pa.array(list(ids), pa.string()), 0
    for batch in snapshot.batches("index", ("id", "split", "shard", "position", "bucket")):
        table = pa.table(batch)
        here = drawn[(drawn >= start) & (drawn < start + len(table))]
        picked |= zip(here.tolist(), table.take(pa.array(here - start)).to_pylist(), strict=True)
        found |= {row["id"]: row for row in table.filter(pc.is_in(table["id"], wanted)).to_pylist()}
        counted = table.group_by(["split", "bucket"]).aggregate([([], "count_all")]).to_pylist()
        buckets.update({(row["split"], row["bucket"]): row["count_all"] for row in counted})
        start += len(table)
    return IndexView([picked[ordinal] for ordinal in drawn.tolist() if ordinal in picked], found, dict(buckets))


def reject_examples(snapshot: Snapshot, most: int) -> dict[str, list[dict[str, Any]]]:
    """Reason -> its first rejects. The table is sorted by id, a hash: the first ones are as good as drawn."""
    examples: dict[str, list[dict[str, Any]]] = {reason: [] for reason in snapshot.document["rejects"]}
    for batch in snapshot.batches("rejects", REJECT_SCHEMA.names):
        for reason in [reason for reason, shown in examples.items() if len(shown) < most]:
            here = batch.filter(pc.equal(batch["reason"], reason))
            examples[reason] += here.slice(0, most - len(examples[reason])).to_pylist()
    return examples


class RowPicker:
    """Single rows and cells of a snapshot by where the index says they lie; each read is one row group."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._uri = snapshot.uri
        files = snapshot.table("files")
        columns = (files[name].to_pylist() for name in ("split", "shard", "column", "path"))
        self._paths = {(split, shard, column): path for split, shard, column, path in zip(*columns, strict=True)}

    def row(self, where: dict[str, Any]) -> dict[str, Any]:
        """What the `row` column knows of the row at `where` (split, shard, position)."""
        return self._read(where, "row", None)

    def cell(self, where: dict[str, Any], column: str) -> Cell:
        """One derived value. A file that cannot be read becomes the cell's error."""
        try:
            values = self._read(where, column, [column, "error"])
        except DataError as error:
            return Cell(None, str(error))
        return Cell(values[column], values["error"])

    def _read(self, where: dict[str, Any], column: str, names: list[str] | None) -> dict[str, Any]:
        path = self._paths.get((where["split"], where["shard"], column))
        if path is None:
            raise DataError(f"{self._uri}: shard {where['shard']} has no column {column}.")
        group, offset = divmod(int(where["position"]), ROW_GROUP_ROWS)
        uri = storage.join(self._uri, path)
        filesystem, arrow_path = storage.arrow_filesystem(uri)
        with storage.explained(uri), pq.ParquetFile(arrow_path, filesystem=filesystem) as file:
            return dict(file.read_row_group(group, names).slice(offset, 1).to_pylist()[0])


def _choice(count: int, most: int, seed: int, purpose: str) -> pa.Array:
    if not most or count <= most:
        return pa.array(np.arange(count))
    return pa.array(np.sort(generator(seed, 0, purpose).choice(count, most, replace=False)))


def in_threads(work: Callable[[Task], Done], tasks: Sequence[Task]) -> Iterator[Done]:
    """Results in order; only a few dozen tasks are under way at a time, so that results do not pile up."""
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(tasks), 8 * READERS):
            yield from pool.map(work, tasks[start : start + 8 * READERS])


def _read_shard(uri: str, file: dict[str, Any]) -> tuple[pa.Table, pa.Table] | str:
    """(rows, tag counts) of one shard, or what is wrong with its file."""
    path = storage.join(uri, file["path"])
    try:
        data = storage.read_bytes(path)
        with storage.explained(path):
            table = pq.read_table(pa.BufferReader(data), columns=list(COUNTED))
    except DataError as error:
        return str(error)
    counts = pc.value_counts(pc.list_flatten(table["tags"]))
    return _rows_of(table, file["split"], file["shard"]), pa.table(
        [counts.field("values"), counts.field("counts")], schema=TAG_COUNTS
    )


def _rows_of(table: pa.Table, split: str, shard: str) -> pa.Table:
    kinds = {"width": pa.int32(), "height": pa.int32(), "score": pa.float32()}
    columns = {name: table[name].cast(kinds.get(name, pa.string())) for name in COUNTED if name != "tags"}
    once = pa.array(np.zeros(len(table), np.int32))
    columns |= {
        "split": pa.DictionaryArray.from_arrays(once, [split]).cast(pa.string()),
        "shard": pa.DictionaryArray.from_arrays(once, [shard]),
        "position": pa.array(np.arange(len(table), dtype=np.int32)),
    }
    return pa.table(columns)


def _merged(*tables: pa.Table) -> pa.Table:
    """Tag counts added up."""
    summed = pa.concat_tables(tables).group_by("tag").aggregate([("count", "sum")])
    return pa.table([summed["tag"], summed["count_sum"]], schema=TAG_COUNTS)


def _errors(uri: str, path: str) -> list[tuple[str, str]]:
    """(id, message) of the rows of a file that failed; none of a file that cannot be read: `verify` reports it."""
    whole = storage.join(uri, path)
    filesystem, arrow_path = storage.arrow_filesystem(whole)
    try:
        with storage.explained(whole):
            table = pq.read_table(arrow_path, filesystem=filesystem, columns=["id", "error"])
    except DataError:
        return []
    table = table.filter(pc.is_valid(table["error"]))
    return list(zip(table["id"].to_pylist(), table["error"].to_pylist(), strict=True))
