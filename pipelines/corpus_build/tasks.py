"""The two pieces of work of a corpus build: one part of the scan, and one shard.

Each is small enough for one block, named before it starts, and written whole; what is done to a picture runs under
dataprep.limits, so that no picture holds a task for ever. The columns of a shard are made lane by lane (`lanes`).
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from dataprep.corpus.column_files import (
    ColumnFile,
    ColumnWriter,
    describe,
    failure_reason,
    read_rows,
    read_vouched,
    write_table,
)
from dataprep.corpus.schema import ROW_SCHEMA, SCAN_SCHEMA
from dataprep.errors import DataError
from dataprep.faults import attempt
from dataprep.limits import Limiter
from dataprep.operators.operator import Operator
from dataprep.pictures.identity import content_id
from dataprep.plan.scan import ListedItem, drawn_id, part_name, scan
from dataprep.sources.items import SourceData
from dataprep.sources.listing import item_of
from dataprep.sources.reading import read_item
from dataprep.storage import store as storage
from pipelines.corpus_build.batches import Cell, OpenRow, OperatorRun
from pipelines.corpus_build.lanes import Lane
from pipelines.execution.live_counts import TaskCount
from pipelines.execution.ray_data import Task
from pipelines.execution.task_tables import read_group
from pipelines.extraction.content_filter import content_measure
from pipelines.extraction.learned_operators import corpus_operators
from pipelines.recipes.build_recipe import BuildRecipe

ROW = "row"  # the column that says what is known of a picture
EVERY_REASON = "all"
FAULTS = "faults"  # below the folder of a build: the calls that ended a worker


@dataclass(frozen=True)
class ShardFiles:
    """The files of a shard of which some are not described by a snapshot yet."""

    split: str
    shard: str
    paths: Mapping[str, tuple[str, str]]  # column -> (fingerprint, path below the corpus), all columns
    described: Mapping[str, str]  # column whose file the newest snapshot describes -> its sha256
    found: Sequence[str]  # columns whose file exists, but no snapshot describes it
    # Column -> (file, its sha256), only failed cells of which are computed.
    again: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class ShardWork:
    """What a task has to do on a shard: a reference, its rows lie in a table."""

    out: str
    faults: str  # where the calls are recorded that ended a worker
    table: str  # address of the table that holds its rows
    group: int  # their row group there
    size: int  # rows
    files: ShardFiles
    retry: Sequence[str] = ()  # the reasons of failures that are tried again

    @classmethod
    def of_task(cls, task: Task) -> "ShardWork":
        """The work in a task, which is JSON-able."""
        return cls(**task["work"] | {"files": ShardFiles(**task["work"]["files"])})

    def rows(self) -> list[dict[str, Any]]:
        """Its scan records with split and bucket, in id order. Raises DataError where the table is gone."""
        rows: list[dict[str, Any]] = read_group(self.table, self.group).to_pylist()
        return rows


def is_retried(reason: str, retry: Collection[str]) -> bool:
    """Whether what failed for this reason is to be tried again."""
    return EVERY_REASON in retry or reason in retry


# ---- scan ---------------------------------------------------------------------------------------------------------


def scan_task(table: str, group: int, faults: str, folder: str, suffix: str, counts: str = "") -> Task:
    """The task that scans the items of a row group (schema.LISTING_SCHEMA) into one part below `folder`.

    counts: the folder of `live_counts`, "" for none.
    """
    return {"table": table, "group": group, "faults": faults, "folder": folder, "suffix": suffix, "counts": counts}


def scan_part(task: Task, recipe: BuildRecipe) -> Task:
    """Scan the task's items and write the part; gives its address and the number of pictures."""
    rows = read_group(task["table"], task["group"]).to_pylist()
    items = [ListedItem(row["key"], item_of(row)) for row in rows]
    name = part_name(items) + task["suffix"]
    limiter = Limiter(recipe.limits, storage.join(task["faults"], "scan", name))
    content = content_measure(recipe)
    count, records = TaskCount(task["counts"], name), []
    for listed in items:
        records.append(scan(listed, limiter, content))
        count(len(records))
    count.end()
    uri = storage.join(task["folder"], f"{name}.parquet")
    storage.write_whole(uri, write_table(pa.Table.from_pylist(records, SCAN_SCHEMA)))
    return {"uri": uri, "pictures": len(items)}


# ---- columns ------------------------------------------------------------------------------------------------------


def shard_task(work: ShardWork, counts: str = "") -> Task:
    """The task of a shard before its first lane; counts: as of `scan_task`."""
    return {"work": asdict(work), "files": [], "computed": {}, "renewed": {}, "rows": work.size, "counts": counts}


def make_columns(task: Task, recipe: BuildRecipe, lane: Lane) -> Task:
    """Make what is missing of a lane's columns of a shard, describe what is there, and give the task to the next lane.

    The task gathers `files` (fields of ColumnFile), `computed` (column -> cells, of the files that were written), and
    `renewed` (column -> ids) of the columns of which an earlier file is tried again.
    """
    work = ShardWork.of_task(task)
    due = [column for column in work.files.paths if column in lane.columns and column not in work.files.described]
    if not due:
        return task
    rows = work.rows()
    ids = [row["id"] for row in rows]
    # What an unfinished build left is taken over where it is whole; the rest is computed.
    left = [column for column in work.files.found if column in due]
    present = {column: data for column in left if (data := _sound(work, column, ids)) is not None}
    missing = set(due) - present.keys()
    wanted = [operator for operator in corpus_operators(recipe) if operator.column in missing]
    # A picture is done by as much as its columns are, those of earlier lanes too.
    before, todo = len(task["files"]), len(work.files.paths) - len(work.files.described) + len(task["files"])
    count = TaskCount(task["counts"], f"{work.files.split}-{work.files.shard}")

    def count_part(done: int) -> None:
        count((before * len(rows) + len(due) * done) / todo)

    made, computed, renewed = _compute(work, rows, wanted, recipe, task["renewed"], count_part)
    if ROW in missing:
        made[ROW], computed[ROW] = _row_file(rows), len(rows)
    # A retry in which everything failed again leaves the earlier file as it is.
    described = {column: _describe(work, column, data) for column, data in (present | made).items()}
    for column in made.keys() & work.files.again.keys():
        earlier = _describe(work, column, _earlier(work, column), work.files.again[column][0])
        if earlier.cells == described[column].cells:
            described[column] = earlier
            del made[column]
    # Written only where no other build was faster; what it wrote is described instead.
    found = {column: there for column, data in made.items() if (there := _write(work, column, data, ids)) is not None}
    described |= {column: _describe(work, column, data) for column, data in found.items()}
    counts = {column: computed[column] for column in made if column not in found}
    if before + len(due) == todo:
        count.end()
    return {
        "work": asdict(_known(work, described)),
        "files": task["files"] + [asdict(file) for file in described.values()],
        "computed": task["computed"] | counts,
        "renewed": task["renewed"] | renewed,
        "rows": task["rows"],
        "counts": task["counts"],
    }


def _known(work: ShardWork, files: Mapping[str, ColumnFile]) -> ShardWork:
    """The work with these files described, as the lanes behind this one see it."""
    paths = {column: (work.files.paths[column][0], file.path) for column, file in files.items()}
    hashes = {column: file.sha256 for column, file in files.items()}
    known = replace(work.files, paths={**work.files.paths, **paths}, described={**work.files.described, **hashes})
    return replace(work, files=known)


def _compute(
    work: ShardWork,
    records: Sequence[dict[str, Any]],
    wanted: Sequence[Operator],
    recipe: BuildRecipe,
    renewed: Mapping[str, Sequence[str]],
    count: Callable[[int], None],
) -> tuple[dict[str, bytes], Counter[str], dict[str, list[str]]]:
    """The files of the wanted columns; cells computed by column; and of columns tried again, the rows renewed."""
    computed: Counter[str] = Counter()
    if not wanted:
        return {}, computed, {}
    columns = [operator.column for operator in wanted]
    for operator in wanted:
        if operator.network is not None:
            operator.network.load()
    # What is there already: columns that these are made from, and cells of earlier files that hold.
    upstream = {needed.column for operator in wanted for needed in operator.inputs} - set(columns)
    stored = {column: _stored(work, column) for column in upstream}
    settled = {column: _settled(work, column) for column in columns if column in work.files.again}
    before = {column: set(renewed.get(column, ())) for column in upstream}
    rows = [
        OpenRow(
            record["id"],
            {column: values[record["id"]] for column, values in stored.items()},
            {column: cells[record["id"]] for column, cells in settled.items() if record["id"] in cells},
            {column for column, ids in before.items() if record["id"] in ids},
        )
        for record in records
    ]
    # The cells, a window of pictures at a time.
    limiter = Limiter(recipe.limits, storage.join(work.faults, work.files.split, work.files.shard))
    run = OperatorRun(
        operators=wanted,
        marks={column: work.files.paths[column][0] for column in columns},
        limiter=limiter,
        networks=recipe.networks,
        canvas=recipe.canvas,
    )
    writers = {column: ColumnWriter(column) for column in columns}
    again: dict[str, list[str]] = {column: [] for column in columns if column in work.files.again}
    for window in run.windows([record["width"] * record["height"] / 1e6 for record in records]):
        both = zip(rows[window], records[window], strict=True)
        open_rows = [(row, _read(record)) for row, record in both if row.needs(wanted)]
        run.work(open_rows)
        for row in rows[window]:
            cells = row.made or dict(row.kept)
            for column, (value, error) in cells.items():
                writers[column].add(row.id, value, error)
            computed.update(column for column, cell in cells.items() if cell is not row.kept.get(column))
            for column in again:
                again[column] += [row.id] if column in row.renewed else []
            row.made, row.cells = {}, {}  # the next windows need the room
        count(window.stop)
    return {column: writer.finish() for column, writer in writers.items()}, computed, again


def _settled(work: ShardWork, column: str) -> dict[str, Cell]:
    """The cells (value, error) of an earlier file that are not to be computed again, by id."""
    return {
        row["id"]: (row[column], row["error"])
        for row in read_rows(_earlier(work, column), column, work.files.again[column][0])
        if row["error"] is None or not is_retried(failure_reason(row["error"]), work.retry)
    }


def _read(record: dict[str, Any]) -> SourceData:
    item = item_of(record)
    data = read_item(item)
    if content_id(data.data) != record["id"]:
        raise DataError(f"{record['uri']}: the file changed while the corpus was built. Run the build again.")
    if drawn_id(item, data) != record["sketch_id"]:
        raise DataError(f"{record['uri']}: its sketch or mask changed while the corpus was built. Run the build again.")
    return data


def _row_file(records: Sequence[Mapping[str, Any]]) -> bytes:
    writer = ColumnWriter("row")
    for record in records:
        known = {name: record.get(name) for name in ROW_SCHEMA.names}
        writer.add_row(known | {"source": record["uri"]})
    return writer.finish()


def _stored(work: ShardWork, column: str) -> dict[str, bytes | None]:
    """The values of a column that is made already, by id. Raises DataError for bytes that are not as described."""
    uri = _uri(work, column)
    data = (
        read_vouched(uri, work.files.described[column]) if column in work.files.described else storage.read_bytes(uri)
    )
    return {row["id"]: row[column] for row in read_rows(data, column, uri)}


def _sound(work: ShardWork, column: str, expected: Sequence[str]) -> bytes | None:
    """The bytes of a file that an earlier, unfinished build left, if they are a whole file of this very shard."""
    uri = _uri(work, column)
    data = storage.read_bytes(uri)
    ids = attempt(lambda: [row["id"] for row in read_rows(data, column, uri)])
    return data if ids == expected else None


def _write(work: ShardWork, column: str, data: bytes, ids: Sequence[str]) -> bytes | None:
    """Write a file; the bytes of a sound file instead where one came first, which stays as it is.

    A build beside this one, or a task that was given up for lost, writes the same file; where a cell of one of them
    failed, the bytes differ, and a snapshot may name those that are there.
    """
    uri = _uri(work, column)
    if storage.create_exclusive(uri, data):
        return None
    there = _sound(work, column, ids) if storage.exists(uri) else None
    if there is None:
        storage.write_whole(uri, data)
    return there


def _describe(work: ShardWork, column: str, data: bytes, path: str | None = None) -> ColumnFile:
    fingerprint, new_path = work.files.paths[column]
    return describe(path or new_path, work.files.split, work.files.shard, column, fingerprint, data)


def _uri(work: ShardWork, column: str) -> str:
    return storage.join(work.out, work.files.paths[column][1])


def _earlier(work: ShardWork, column: str) -> bytes:
    path, sha256 = work.files.again[column]
    return read_vouched(storage.join(work.out, path), sha256)
