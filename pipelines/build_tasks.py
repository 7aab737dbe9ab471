"""The two pieces of work of a corpus build, and the one place where they meet Ray Data.

A task is one part of the scan or one shard: small enough for one block, named before it starts, and written whole. So
a task that is repeated, on any worker, after any crash, ends with the same files. What is done to a picture runs under
dataprep.guard, so that no picture holds a task for ever.
"""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from dataprep import storage
from dataprep.columns import ColumnFile, ColumnWriter, describe, failure_reason, read_rows, read_vouched, write_table
from dataprep.corpus_recipe import CorpusRecipe
from dataprep.errors import DataError
from dataprep.faults import Failure, attempt
from dataprep.guard import Guard, LimitSettings, expendable
from dataprep.identity import content_id
from dataprep.operators import Operator, RowInput
from dataprep.pictures import decode
from dataprep.scan import ListedItem, drawn_id, part_name, scan
from dataprep.schema import ROW_SCHEMA, SCAN_SCHEMA
from dataprep.sources.items import SourceData
from dataprep.sources.listing import item_of
from dataprep.sources.reading import read_item
from pipelines.extractors import corpus_operators
from pipelines.task_tables import read_group

Task = dict[str, Any]  # JSON-able
Work = Callable[[Task], Task]
Engine = Callable[[Work, Sequence[Task]], Iterator[Task]]  # gives the results as they end, in any order
EVERY_REASON = "all"
Cell = tuple[bytes | None, str | None]  # value, error

FAULTS = "faults"  # below the folder of a build: the calls that ended a worker


@dataclass(frozen=True)
class ShardWork:
    """A shard of which some columns are not described by a snapshot yet: a reference, its rows lie in a table."""

    out: str
    faults: str  # where the calls are recorded that ended a worker
    split: str
    shard: str
    table: str  # address of the table that holds its rows
    group: int  # their row group there
    size: int  # rows
    files: Mapping[str, tuple[str, str]]  # column -> (fingerprint, path below `out`), all columns
    described: Mapping[str, str]  # column whose file the newest snapshot vouches for -> its sha256
    found: Sequence[str]  # columns whose file exists, but nobody vouches for it
    # Column -> (file, its sha256), only failed cells of which are computed.
    again: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    retry: Sequence[str] = ()  # the reasons of these failures

    def rows(self) -> list[dict[str, Any]]:
        """Its scan records with split and bucket, in id order. Raises DataError where the table is gone."""
        rows: list[dict[str, Any]] = read_group(self.table, self.group).to_pylist()
        return rows


def is_retried(reason: str, retry: Collection[str]) -> bool:
    """Whether what failed for this reason is to be tried again."""
    return EVERY_REASON in retry or reason in retry


def over_ray(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
    """`work` on each task, one block and one CPU each; results as they end. A DataError of a task is raised here.

    Ray Data tries a task whose worker or node is lost again, without bound; the guard sees to it that there is an end.
    """
    import ray
    from ray.data import DataContext

    if not tasks:
        return
    DataContext.get_current().raise_original_map_exception = True
    blocks = ray.data.from_items([{"task": json.dumps(task)} for task in tasks], override_num_blocks=len(tasks))
    run = partial(_run_block, work, uuid.uuid4().hex)
    results = blocks.map_batches(run, batch_size=None, num_cpus=1)
    try:
        for row in results.iter_rows():
            yield json.loads(row["result"])
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DataError):
            raise DataError(str(error.cause).splitlines()[0]) from error  # Ray adds lines of its own
        raise


def in_process(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
    """The same without Ray, one task after another: for a notebook, or to tell the work from its engine."""
    return map(work, tasks)


def _run_block(work: Work, build: str, block: dict[str, Any]) -> dict[str, Any]:
    cv2.setNumThreads(1)  # the task has one CPU
    storage.wait_out_outages()  # the driver has reached the store
    with expendable(build):
        return {"result": np.array([json.dumps(work(json.loads(task))) for task in block["task"]], dtype=object)}


# ---- scan ---------------------------------------------------------------------------------------------------------


def scan_task(table: str, group: int, faults: str, folder: str, suffix: str) -> Task:
    """The task that scans the items of a row group (schema.LISTING_SCHEMA) into one part below `folder`."""
    return {"table": table, "group": group, "faults": faults, "folder": folder, "suffix": suffix}


def scan_part(task: Task, limits: LimitSettings) -> Task:
    """Scan the task's items and write the part; gives its address and the number of pictures."""
    rows = read_group(task["table"], task["group"]).to_pylist()
    items = [ListedItem(row["key"], item_of(row)) for row in rows]
    name = part_name(items) + task["suffix"]
    guard = Guard(limits, storage.join(task["faults"], "scan", name))
    records = [scan(listed, guard) for listed in items]
    uri = storage.join(task["folder"], f"{name}.parquet")
    storage.write_whole(uri, write_table(pa.Table.from_pylist(records, SCAN_SCHEMA)))
    return {"uri": uri, "pictures": len(items)}


# ---- columns ------------------------------------------------------------------------------------------------------


def make_columns(task: Task, recipe: CorpusRecipe) -> Task:
    """Make what is missing of a shard, describe what is there.

    Gives `files` (fields of ColumnFile), `computed` (column -> cells, of the files that were written) and `rows`.
    """
    work = ShardWork(**task)
    rows = work.rows()
    ids = [row["id"] for row in rows]
    present = {column: data for column in work.found if (data := _sound(work, column, ids)) is not None}
    missing = [column for column in work.files if column not in present and column not in work.described]
    guard = Guard(recipe.limits, storage.join(work.faults, work.split, work.shard))
    wanted = [operator for operator in corpus_operators(recipe) if operator.column in missing]
    made, computed = _compute(work, rows, wanted, guard)
    if "row" in missing:
        made["row"], computed["row"] = _row_file(rows), len(rows)
    described = {column: _describe(work, column, data) for column, data in (present | made).items()}
    for column in made.keys() & work.again.keys():
        earlier = _describe(work, column, _earlier(work, column), work.again[column][0])
        if earlier.cells == described[column].cells:  # everything failed again: the earlier file says so already
            described[column] = earlier
            del made[column]
    found = {column: there for column, data in made.items() if (there := _write(work, column, data, ids)) is not None}
    described |= {column: _describe(work, column, data) for column, data in found.items()}
    counts = {column: computed[column] for column in made if column not in found}
    return {"files": [asdict(file) for file in described.values()], "computed": counts, "rows": len(rows)}


def _compute(
    work: ShardWork, rows: Sequence[dict[str, Any]], wanted: Sequence[Operator], guard: Guard
) -> tuple[dict[str, bytes], Counter[str]]:
    """The files of the wanted columns, row by row, so that one picture at a time is in memory; and cells computed."""
    computed: Counter[str] = Counter()
    if not wanted:
        return {}, computed
    writers = {operator.column: ColumnWriter(operator.column) for operator in wanted}
    upstream = {needed.column for operator in wanted for needed in operator.inputs} - writers.keys()
    stored = {column: _stored(work, column) for column in upstream}
    settled = {column: _settled(work, column) for column in writers.keys() & work.again.keys()}
    marks = {operator.column: work.files[operator.column][0] for operator in wanted}
    for record in rows:
        row_id = record["id"]
        cells = {column: values[row_id] for column, values in stored.items()}
        kept = {column: values[row_id] for column, values in settled.items() if row_id in values}
        made = kept if len(kept) == len(wanted) else _compute_row(record, wanted, marks, cells, kept, guard)
        for column, (value, error) in made.items():
            writers[column].add(row_id, value, error)
        computed.update(column for column, cell in made.items() if cell is not kept.get(column))
    return {column: writer.finish() for column, writer in writers.items()}, computed


def _compute_row(
    record: dict[str, Any],
    wanted: Sequence[Operator],
    marks: Mapping[str, str],  # column -> fingerprint
    cells: dict[str, bytes | None],  # the columns that are there already; the made ones join them
    kept: Mapping[str, Cell],  # cells of an earlier file that hold unless what they are made from is renewed
    guard: Guard,
) -> dict[str, Cell]:
    """The wanted cells of one row."""
    row_id, data = record["id"], _read(record)
    made: dict[str, Cell] = {}
    renewed: set[str] = set()
    with guard.picture():
        row = guard.call(f"decode-{row_id}", partial(_row_input, row_id, data))
        for operator in wanted:
            column = operator.column
            if column in kept and not renewed & {needed.column for needed in operator.inputs}:
                made[column] = kept[column]
            elif isinstance(row, Failure):
                made[column] = (None, str(row))
            else:
                compute = partial(operator.value, replace(row, columns=cells))
                value = guard.call(f"{column}-{marks[column]}-{row_id}", compute)
                made[column] = (None, str(value)) if isinstance(value, Failure) else (value, None)
                renewed |= set() if isinstance(value, Failure) else {column}
            cells[column] = made[column][0]
    return made


def _settled(work: ShardWork, column: str) -> dict[str, Cell]:
    """The cells (value, error) of an earlier file that are not to be computed again, by id."""
    return {
        row["id"]: (row[column], row["error"])
        for row in read_rows(_earlier(work, column), column, work.again[column][0])
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


def _row_input(row_id: str, data: SourceData) -> RowInput:
    return RowInput(row_id, data.data, decode(data.data), data.drawn_sketch, data.mask)


def _row_file(records: Sequence[Mapping[str, Any]]) -> bytes:
    writer = ColumnWriter("row")
    for record in records:
        known = {name: record.get(name) for name in ROW_SCHEMA.names}
        writer.add_row(known | {"source": record["uri"]})
    return writer.finish()


def _stored(work: ShardWork, column: str) -> dict[str, bytes | None]:
    """The values of a column that is made already, by id. Raises DataError for bytes that no snapshot vouches for."""
    uri = _uri(work, column)
    data = read_vouched(uri, work.described[column]) if column in work.described else storage.read_bytes(uri)
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
    fingerprint, new_path = work.files[column]
    return describe(path or new_path, work.split, work.shard, column, fingerprint, data)


def _uri(work: ShardWork, column: str) -> str:
    return storage.join(work.out, work.files[column][1])


def _earlier(work: ShardWork, column: str) -> bytes:
    path, sha256 = work.again[column]
    return read_vouched(storage.join(work.out, path), sha256)
