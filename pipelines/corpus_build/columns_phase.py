"""The columns phase: each file that a shard needs is either there, and described, or the work of one task.

A file is known by shard, column and fingerprint. What the newest snapshot names and the store still holds is carried
over unopened; what merely lies there, left by a build that did not end, is read and taken over if it is whole; the rest
is computed. A retry computes the failed cells of a file again and takes the others from it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.corpus.column_files import ColumnFile, column_path
from dataprep.corpus.digest import metadata_variant
from dataprep.corpus.hashes import short_hash
from dataprep.corpus.schema import FILE_SCHEMA
from dataprep.corpus.snapshot import Snapshot
from dataprep.documents import parse_document
from dataprep.operators.operator import Operator
from dataprep.plan.row_plan import Plan, Shard
from dataprep.storage import store as storage
from pipelines.common.progress import Clock
from pipelines.corpus_build.job import BuildJob
from pipelines.corpus_build.lanes import lanes
from pipelines.corpus_build.listing import Listing
from pipelines.corpus_build.tasks import ROW, ShardFiles, ShardWork, is_retried, make_columns, shard_task
from pipelines.execution.live_counts import LiveCounts
from pipelines.execution.ray_data import Step, Steps, Task
from pipelines.execution.task_tables import write_groups
from pipelines.recipes.build_recipe import BuildRecipe

ROWS_AT_ONCE = 500_000  # rows with their tags in the driver's memory, while the tables of the tasks are written
_LISTED_METADATA = ("tags", "rating", "score", "caption", "sketch_uri", "mask_uri", "kind", "detail")


@dataclass(frozen=True)
class OpenShard:
    """A shard of the plan of which some columns are not described by a snapshot yet."""

    shard: Shard
    files: ShardFiles
    retried: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # column -> reason -> cells that had failed


@dataclass(frozen=True)
class ColumnPlan:
    """What the plan's shards need: files that the newest snapshot describes, and work on the other shards."""

    described: tuple[ColumnFile, ...]
    work: tuple[OpenShard, ...]


@dataclass(frozen=True)
class Filled:
    """One file of a worked shard, and how many of its cells this build computed."""

    file: ColumnFile
    computed: int


def plan_columns(plan: Plan, job: BuildJob, earlier: Snapshot | None) -> ColumnPlan:
    """Compare what the shards need with what lies there."""
    on_disk = {entry.uri: entry.size for entry in storage.list_files(storage.join(job.out, "data"))}
    there = _CorpusFiles(job.out, on_disk, _vouched_files(job.out, earlier, on_disk), job.retry)
    marks = {operator.column: str(operator.describe()["fingerprint"]) for operator in job.operators}
    inputs = {operator.column: [needed.column for needed in operator.inputs] for operator in job.columns}
    metadata = plan.rows["metadata"].to_numpy()
    described: list[ColumnFile] = []
    work: list[OpenShard] = []
    for shard in plan.shards:
        done, needs = there.of_shard(shard, marks, inputs, metadata[shard.rows])
        described += done
        if needs is not None:
            work.append(needs)
    return ColumnPlan(tuple(described), tuple(work))


def fill_columns(columns: ColumnPlan, plan: Plan, listing: Listing, job: BuildJob) -> Iterator[Filled]:
    """Make and describe what is missing: each file of the worked shards."""
    total = sum(len(needs.shard.rows) for needs in columns.work)
    files, computed = len(columns.described), 0
    rows = _shard_tables(columns.work, plan, listing)
    groups = write_groups(storage.join(job.folder, "shards"), rows)
    with LiveCounts(Clock("make columns", total, "pictures", "", job.progress)) as live:
        pairs = zip(columns.work, groups, strict=True)
        tasks = [_task(needs, *group, job, live.folder) for needs, group in pairs]
        for result in job.engine(column_steps(job.recipe, job.columns), tasks):
            files += len(result["files"])
            computed += len(result["computed"])
            note = f"reused {files - computed} of {files} shard columns" if computed < files else ""
            live.ended(result["rows"], note)
            for fields in result["files"]:
                yield Filled(ColumnFile(**fields), result["computed"].get(fields["column"], 0))


def column_steps(recipe: BuildRecipe, operators: Sequence[Operator]) -> Steps:
    """The lanes of the recipe's operators, one after another; the `row` column goes with the first."""
    first, *others = lanes(operators)
    with_row = replace(first, columns=(ROW, *first.columns))
    return Steps(
        tuple(
            Step(partial(make_columns, recipe=recipe, lane=lane), recipe.networks if lane.has_networks else None)
            for lane in (with_row, *others)
        )
    )


def _shard_tables(work: Sequence[OpenShard], plan: Plan, listing: Listing) -> Iterator[pa.Table]:
    """The rows of each shard with all that a worker needs: schema.SCAN_SCHEMA but `item`, and split and bucket."""
    for some in _spans([len(needs.shard.rows) for needs in work], ROWS_AT_ONCE):
        rows = [needs.shard.rows for needs in work[some]]
        table = plan.rows.take(np.concatenate(rows))
        metadata = _listed(listing, table["place"].to_numpy())
        for name in _LISTED_METADATA:
            table = table.append_column(name, metadata[name])
        table, start = table.combine_chunks(), 0
        for size in map(len, rows):
            yield table.slice(start, size)
            start += size


def _listed(listing: Listing, places: npt.NDArray[np.int64]) -> pa.Table:
    """The listed items at these places, in the order of `places`; goes once through the listing."""
    rising = np.sort(places)
    parts, done = [], 0
    for batch in listing.batches():
        low, high = np.searchsorted(rising, (done, done + len(batch)))
        parts.append(batch.select(_LISTED_METADATA).take(rising[low:high] - done))
        done += len(batch)
    return pa.concat_tables(parts).combine_chunks().take(np.searchsorted(rising, places))


def _spans(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Neighbouring entries with at most `most` in sum, or one entry alone."""
    start, held = 0, 0
    for end, size in enumerate(sizes):
        if held and held + size > most:
            yield slice(start, end)
            start, held = end, 0
        held += size
    if held:
        yield slice(start, len(sizes))


def _task(needs: OpenShard, table: str, group: int, job: BuildJob, counts: str) -> Task:
    work = ShardWork(
        out=job.out,
        faults=job.faults,
        table=table,
        group=group,
        size=len(needs.shard.rows),
        files=needs.files,
        retry=job.retry,
    )
    return shard_task(work, counts)


def _vouched_files(
    out: str, earlier: Snapshot | None, on_disk: Mapping[str, int]
) -> dict[tuple[str, str, str], ColumnFile]:
    """(split, shard, column) -> file, of those that the newest snapshot names and that lie there at their size."""
    if earlier is None:
        return {}
    files = (ColumnFile(**fields) for fields in earlier.table("files").select(FILE_SCHEMA.names).to_pylist())
    sound = (file for file in files if on_disk.get(storage.join(out, file.path)) == file.bytes)
    return {(file.split, file.shard, file.column): file for file in sound}


@dataclass(frozen=True)
class _CorpusFiles:
    """What lies at a corpus, and what of it is to be tried again."""

    out: str
    on_disk: Mapping[str, int]
    vouched: Mapping[tuple[str, str, str], ColumnFile]
    retry: Sequence[str]

    def of_shard(
        self,
        shard: Shard,
        marks: Mapping[str, str],
        inputs: Mapping[str, Sequence[str]],
        metadata: npt.NDArray[np.uint64],
    ) -> tuple[list[ColumnFile], OpenShard | None]:
        """The files of a shard that hold as they are, and what is open of it."""
        paths = {column: _path(shard, column, mark, metadata) for column, mark in marks.items()}
        done = {column: file for column, path in paths.items() if (file := self._vouched(shard, column, marks, path))}
        paths |= {column: file.path for column, file in done.items()}
        retried = {column: reasons for column, file in done.items() if (reasons := self._to_retry(file))}
        renewed = _with_dependents(retried, inputs) & done.keys()
        again = {column: (file.path, file.sha256) for column in sorted(renewed) if (file := done.pop(column))}
        paths |= {column: self._retry_path(shard, column, marks[column], path) for column, (path, _) in again.items()}
        open_columns = paths.keys() - done.keys()
        if not open_columns:
            return list(done.values()), None
        left = open_columns - again.keys()
        files = ShardFiles(
            split=shard.split,
            shard=shard.name,
            paths={column: (marks[column], path) for column, path in paths.items()},
            described={column: file.sha256 for column, file in done.items()},
            found=sorted(column for column in left if storage.join(self.out, paths[column]) in self.on_disk),
            again=again,
        )
        return list(done.values()), OpenShard(shard, files, retried)

    def _vouched(self, shard: Shard, column: str, marks: Mapping[str, str], path: str) -> ColumnFile | None:
        file = self.vouched.get((shard.split, shard.name, column))
        same = file is not None and (file.path == path if column == ROW else file.fingerprint == marks[column])
        return file if same else None

    def _to_retry(self, file: ColumnFile) -> dict[str, int]:
        """Reason -> cells of the file that failed for it, of the reasons that are to be tried again."""
        if not file.failed or not self.retry:
            return {}
        reasons = parse_document(file.reasons, dict[str, int], f"the reasons of {file.path}")
        return {reason: count for reason, count in reasons.items() if is_retried(reason, self.retry)}

    def _retry_path(self, shard: Shard, column: str, mark: str, earlier: str) -> str:
        variant = "r" + short_hash([earlier, sorted(self.retry)])[:8]
        return column_path(shard.split, shard.name, column, mark, variant)


def _with_dependents(columns: Collection[str], inputs: Mapping[str, Sequence[str]]) -> set[str]:
    """The columns and those that are made from them; `inputs` is in an order in which each finds its inputs done."""
    renewed = set(columns)
    if renewed:
        for column, needed in inputs.items():
            renewed |= {column} if renewed.intersection(needed) else set()
    return renewed


def _path(shard: Shard, column: str, fingerprint: str, metadata: npt.NDArray[np.uint64]) -> str:
    """Where the column's file of the shard lies unless it was tried again.

    Groups, tags and addresses may change while the pictures, and so the shard's name, stay the same: the `row` file has
    a hash of them in its name.
    """
    variant = metadata_variant(metadata) if column == ROW else ""
    return column_path(shard.split, shard.name, column, fingerprint, variant)
