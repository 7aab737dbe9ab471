"""The phases of a corpus build: list, scan, plan, columns. Each looks first at what is there and does only the rest."""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from dataprep import storage
from dataprep.columns import ColumnFile, read_table
from dataprep.errors import DataError
from dataprep.operators import CorpusRecipe, Operator, operators, short_hash
from dataprep.plan import Plan, Shard, make_plan
from dataprep.scan import NOT_READ, ListedItem, list_source, scan_fingerprint
from dataprep.scan import VERSION as SCAN_VERSION
from dataprep.schema import FILE_SCHEMA, ROW_SCHEMA, SCAN_SCHEMA
from dataprep.snapshot import Snapshot, column_path
from pipelines.build_tasks import Engine, ShardWork, Task, make_columns, scan_part, scan_task
from pipelines.progress import Progress, ProgressSink
from pipelines.task_tables import write_groups

SCAN_PART_MIN, SCAN_PART_MAX = 32, 1024  # pictures of one scan task; large sources get large parts


@dataclass(frozen=True)
class Scan:
    """The records of all listed items in listing order (schema.SCAN_SCHEMA), and how many were read by this build."""

    records: pa.Table
    new: int


@dataclass(frozen=True)
class ColumnPlan:
    """What the plan's shards need: files that the newest snapshot vouches for, and work on the other shards."""

    described: tuple[ColumnFile, ...]
    work: tuple["OpenShard", ...]

    def missing(self) -> dict[str, int]:
        """Column -> shards in which its file does not exist."""
        counts: dict[str, int] = {}
        for shard in self.work:
            for column in shard.files.keys() - {*shard.described, *shard.found}:
                counts[column] = counts.get(column, 0) + 1
        return counts


@dataclass(frozen=True)
class OpenShard:
    """A shard of the plan of which some columns are not described by a snapshot yet; as in build_tasks.ShardWork."""

    shard: Shard
    files: Mapping[str, tuple[str, str]]
    described: Sequence[str]
    found: Sequence[str]


def row_operator(recipe: CorpusRecipe) -> Operator:
    """The `row` column as an operator, for its fingerprint: what a row says depends on the scan and the split."""
    return Operator("row", "scan", SCAN_VERSION, lambda _: None, {"validation_share": recipe.validation_share})


def list_sources(sources: Sequence[str], limit: int | None, progress: ProgressSink) -> list[ListedItem]:
    """The first `limit` items of the sources in order, each once."""
    found: dict[str, ListedItem] = {}
    every = (listed for source in sources for listed in list_source(source))
    for listed in islice(every, limit):
        found.setdefault(listed.key, listed)
    progress(Progress("list pictures", len(found), len(found), "pictures"))
    return list(found.values())


def known_records(out: str, recipe: CorpusRecipe) -> pa.Table:
    """What earlier scans with these settings learned; items whose bytes could not be read are not counted as known."""
    return _read_parts(entry.uri for entry in storage.list_files(_scan_folder(out, recipe)))


def unknown_items(items: Sequence[ListedItem], known: pa.Table) -> list[ListedItem]:
    """The items that have to be read."""
    scanned = set(known["item"].to_pylist())
    return [listed for listed in items if listed.key not in scanned]


def scan_items(
    items: Sequence[ListedItem], out: str, recipe: CorpusRecipe, progress: ProgressSink, engine: Engine
) -> Scan:
    """Read every item that is not known yet, and give the records of all."""
    known = known_records(out, recipe)
    unknown = unknown_items(items, known)
    size = min(SCAN_PART_MAX, max(SCAN_PART_MIN, len(unknown) // 64))
    parts = [unknown[start : start + size] for start in range(0, len(unknown), size)]
    tasks = [scan_task(part, out, _scan_folder(out, recipe)) for part in parts]
    done, reused, uris = 0, len(items) - len(unknown), []
    note = f"reused {reused:,} of {len(items):,}" if reused else ""
    clock = _Clock("scan pictures", len(unknown), "pictures", note, progress)
    for result in engine(partial(scan_part, limits=recipe.limits), tasks):
        uris.append(result["uri"])
        done += result["pictures"]
        clock.tell(done)
    fresh = pa.concat_tables([known, *(read_table(uri, SCAN_SCHEMA) for uri in uris)])
    return Scan(in_order(items, fresh), len(unknown))


def in_order(items: Sequence[ListedItem], records: pa.Table) -> pa.Table:
    """The records of the items, in listing order."""
    positions = pc.index_in(pa.array([listed.key for listed in items], pa.string()), records["item"].combine_chunks())
    return records.take(positions)


def plan_rows(records: pa.Table, recipe: CorpusRecipe, earlier: Snapshot | None) -> Plan:
    """Which pictures become rows of which shard. Raises DataError where not one is left."""
    plan = make_plan(records, recipe, earlier.table("index") if earlier else None)
    if not len(plan.rows):
        reasons = ", ".join(sorted(set(plan.rejects["reason"].to_pylist()))) or "no pictures"
        raise DataError(f"not one of {len(records)} pictures can be used ({reasons}). Nothing was written.")
    return plan


def plan_columns(plan: Plan, out: str, recipe: CorpusRecipe, earlier: Snapshot | None) -> ColumnPlan:
    """Compare what the shards need with what lies there."""
    on_disk = {entry.uri: entry.size for entry in storage.list_files(storage.join(out, "data"))}
    vouched = _vouched_files(out, earlier, on_disk)
    fingerprints = {operator.column: operator.describe()["fingerprint"] for operator in all_operators(recipe)}
    described: list[ColumnFile] = []
    work: list[OpenShard] = []
    for shard in plan.shards:
        rows = plan.rows.take(list(shard.rows)).to_pylist()
        paths = {column: (mark, _path(shard, column, mark, rows)) for column, mark in fingerprints.items()}
        done = {column: vouched[path] for column, (_, path) in paths.items() if path in vouched}
        described += done.values()
        if len(done) < len(paths):
            open_columns = [column for column in paths if column not in done]
            found = [column for column in open_columns if storage.join(out, paths[column][1]) in on_disk]
            work.append(OpenShard(shard, paths, list(done), found))
    return ColumnPlan(tuple(described), tuple(work))


def all_operators(recipe: CorpusRecipe) -> tuple[Operator, ...]:
    return (row_operator(recipe), *operators(recipe))


def fill_columns(
    plan: ColumnPlan,
    rows: pa.Table,
    out: str,
    recipe: CorpusRecipe,
    progress: ProgressSink,
    engine: Engine,
) -> Iterator[tuple[ColumnFile, bool]]:
    """Make and describe what is missing; each file of the worked shards, and whether this build computed it."""
    total, done = sum(len(needs.shard.rows) for needs in plan.work), 0
    files, computed = len(plan.described), 0
    clock = _Clock("make columns", total, "pictures", "", progress)
    for result in engine(partial(make_columns, recipe=recipe), _shard_tasks(plan.work, rows, out)):
        done += result["rows"]
        files += len(result["files"])
        computed += len(result["computed"])
        clock.tell(done, f"reused {files - computed} of {files} shard columns" if computed < files else "")
        for fields in result["files"]:
            yield ColumnFile(**fields), fields["column"] in result["computed"]


def _shard_tasks(work: Sequence[OpenShard], rows: pa.Table, out: str) -> list[Task]:
    """Write the rows of the shards where their tasks find them."""
    folder = storage.join(out, "plan", uuid.uuid4().hex)
    groups = write_groups(folder, (rows.take(list(needs.shard.rows)) for needs in work))
    return [
        asdict(
            ShardWork(
                out=out,
                split=needs.shard.split,
                shard=needs.shard.name,
                table=table,
                group=group,
                size=len(needs.shard.rows),
                files=needs.files,
                described=needs.described,
                found=needs.found,
            )
        )
        for needs, (table, group) in zip(work, groups, strict=True)
    ]


def _scan_folder(out: str, recipe: CorpusRecipe) -> str:
    return storage.join(out, "scan", scan_fingerprint(recipe.filters))


def _read_parts(uris: Iterable[str]) -> pa.Table:
    """The usable records of scan parts; a damaged part is no knowledge."""
    tables = [SCAN_SCHEMA.empty_table()]
    for uri in uris:
        try:
            tables.append(read_table(uri, SCAN_SCHEMA))
        except DataError:
            if not storage.exists(uri):
                raise
            continue  # its pictures are read again
    table = pa.concat_tables(tables)
    return table.filter(pc.not_equal(pc.fill_null(table["reason"], ""), NOT_READ))


def _vouched_files(out: str, earlier: Snapshot | None, on_disk: Mapping[str, int]) -> dict[str, ColumnFile]:
    """Path -> file, of the files that the newest snapshot names and that lie there at their size."""
    if earlier is None:
        return {}
    files = (ColumnFile(**fields) for fields in earlier.table("files").select(FILE_SCHEMA.names).to_pylist())
    return {file.path: file for file in files if on_disk.get(storage.join(out, file.path)) == file.bytes}


def _path(shard: Shard, column: str, fingerprint: str, rows: Sequence[Mapping[str, object]]) -> str:
    if column != "row":
        return column_path(shard.split, shard.name, column, fingerprint)
    # Groups, tags and addresses may change while the pictures, and so the shard's name, stay the same.
    known = short_hash([{name: row.get(name) for name in ROW_SCHEMA.names} | {"source": row["uri"]} for row in rows])
    return column_path(shard.split, shard.name, column, f"{fingerprint}-{known[:8]}")


class _Clock:
    """Tells progress with the rate since the stage began."""

    def __init__(self, stage: str, total: int, unit: str, note: str, progress: ProgressSink) -> None:
        self._stage, self._total, self._unit, self._note, self._progress = stage, total, unit, note, progress
        self._started = time.monotonic()
        self.tell(0)

    def tell(self, done: int, note: str = "") -> None:
        elapsed_s = time.monotonic() - self._started
        rate = done / elapsed_s if done and elapsed_s > 0 else None
        self._progress(Progress(self._stage, done, self._total, self._unit, rate, note or self._note))
