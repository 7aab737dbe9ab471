"""What a corpus build will take: core hours, machine hours, bytes and requests, before anyone submits it.

Each step costs `fixed + per_megapixel * size`, fitted to milliseconds that `python -m benchmarks.operator_costs` has
measured on one core; costs are linear in the size, so that of a distribution only the mean matters. Requests are
counted from the layout of a corpus. What is not measured is an assumption, and each is told with the result.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataprep.corpus_recipe import CorpusRecipe
from dataprep.operators import Operator
from pipelines.build_scan import PART_MAX, PART_MIN
from pipelines.cluster import WorkerGroup
from pipelines.errors import PipelineError
from pipelines.extractors import corpus_operators
from pipelines.settings import SettingsError, nearest
from pipelines.task_tables import GROUPS_PER_FILE

SHIPPED = Path(__file__).with_name("measured_costs.json")
FORMAT = 1
EFFICIENCY = 0.85  # of a bare pool of processes that calls the same functions: the bar of the corpus benchmark
LIST_PAGE = 1000  # objects that one list request of S3 names
OPEN_READS = 3  # requests that read one row group of a Parquet file: its size, its footer, the group
COMMIT_WRITES = 5  # files, index, rejects, document, lineage
SOURCE_FORMATS = ("jpeg", "png")
SHARES = {"sketch_drawn": 0.0, "mask": 0.0}  # rows that have one: found pictures rarely bring them


@dataclass(frozen=True)
class Linear:
    """`fixed` + `per_megapixel` times megapixels."""

    fixed: float
    per_megapixel: float

    def at(self, megapixels: float) -> float:
        return self.fixed + self.per_megapixel * megapixels


@dataclass(frozen=True)
class StepCost:
    """One step on one picture: milliseconds of one core, and bytes of what it makes (of the source, for `read`).

    `worst`: largest relative distance of a measurement from the fitted line of milliseconds.
    """

    ms: Linear
    bytes: Linear
    worst: float = 0.0


@dataclass(frozen=True)
class CostTable:
    """Step -> source format -> cost; `measured` says when, on what machine and on what pictures."""

    measured: Mapping[str, Any]
    steps: Mapping[str, Mapping[str, StepCost]]
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def step(self, name: str, jpeg_share: float) -> StepCost:
        """The cost of a step for a mixture of JPEG and PNG sources. PipelineError where it was never measured."""
        if name not in self.steps:
            raise PipelineError(
                f"there is no measurement of {name!r}: run python -m benchmarks.operator_costs --out FILE with this "
                "recipe, and give the file with --costs"
            )
        jpeg, png = (self.steps[name][kind] for kind in SOURCE_FORMATS)
        return StepCost(
            _mixed(jpeg.ms, png.ms, jpeg_share), _mixed(jpeg.bytes, png.bytes, jpeg_share), max(jpeg.worst, png.worst)
        )


@dataclass(frozen=True)
class PictureMix:
    """What the pictures are like. `origin` says where the figures come from."""

    name: str
    megapixels: float  # mean
    jpeg_share: float
    origin: str

    def __post_init__(self) -> None:
        if not self.megapixels > 0 or not 0 <= self.jpeg_share <= 1:
            raise ValueError("megapixels must be positive and jpeg_share in [0, 1]")


def log_normal_mean(median: float, sigma: float) -> float:
    """The mean of a log-normal distribution: median * exp(sigma^2 / 2)."""
    return median * math.exp(sigma**2 / 2)


MIXES = {
    mix.name: mix
    for mix in (
        PictureMix("danbooru", log_normal_mean(1.0, 0.8), 0.7, "assumed: log-normal, median 1.0, sigma 0.8; 70 % JPEG"),
        PictureMix("danbooru-512", 0.512**2, 1.0, "512 x 512 JPEG, the size of the 512px folder"),
    )
}


@dataclass(frozen=True)
class Request:
    """What is asked for. `shares`: column -> share of rows that have a value, 1 where not named."""

    name: str
    recipe: CorpusRecipe
    rows: int
    mix: PictureMix
    store: str = "s3"  # or "disk"
    rebuild: tuple[str, ...] = ()  # only these columns and what is made from them; empty: everything
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))

    def __post_init__(self) -> None:
        if self.rows < 1 or self.store not in ("s3", "disk"):
            raise ValueError("rows must be at least 1 and store s3 or disk")


@dataclass(frozen=True)
class Line:
    """One step over all rows. Bytes and requests are totals."""

    step: str
    ms: float  # of one core, on the mean picture
    core_hours: float
    read_bytes: float = 0.0
    written_bytes: float = 0.0
    gets: int = 0
    puts: int = 0
    lists: int = 0


@dataclass(frozen=True)
class Phase:
    """A phase that the cluster works through: its lines, the tasks it falls into, and its time on the machines."""

    name: str
    lines: tuple[Line, ...]
    tasks: int
    hours: float
    machine_hours: float

    @property
    def core_hours(self) -> float:
        return sum(line.core_hours for line in self.lines)


@dataclass(frozen=True)
class Forecast:
    """The whole. `cost` None where a price is not known."""

    name: str
    rows: int
    group: WorkerGroup
    phases: tuple[Phase, ...]
    cost: float | None
    assumptions: tuple[str, ...]
    estimate: bool = False  # whether more than arithmetic stands between the measurements and the hours

    @property
    def hours(self) -> float:
        return sum(phase.hours for phase in self.phases)

    @property
    def machine_hours(self) -> float:
        return sum(phase.machine_hours for phase in self.phases)


def load_costs(path: str | Path = SHIPPED) -> CostTable:
    """A file of `benchmarks.operator_costs`. Raises PipelineError where it is none."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise PipelineError(f"{path}: format {document['format']} is not {FORMAT}, the one this version reads")
        steps = {
            name: {kind: _step_cost(cost) for kind, cost in kinds.items()} for name, kinds in document["steps"].items()
        }
        return CostTable(document["measured"], steps, document.get("training", {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path}: no file of benchmarks.operator_costs ({error})") from error


def forecast_corpus(asked: Request, table: CostTable, group: WorkerGroup) -> Forecast:
    """What a build of `asked` takes on `group`; every picture is counted as one that becomes a row."""
    all_steps = corpus_operators(asked.recipe)
    wanted = _wanted(all_steps, asked.rebuild)
    phases = [] if asked.rebuild else [_scan_phase(asked, table, group)]
    phases.append(_column_phase(asked, table, group, all_steps, wanted))
    hours = sum(phase.hours for phase in phases)
    machine_hours = sum(phase.machine_hours for phase in phases)
    return Forecast(
        name=asked.name,
        rows=asked.rows,
        group=group,
        phases=tuple(phases),
        cost=group.cost(machine_hours, hours),
        assumptions=tuple(_assumptions(asked, table, group, [step.column for step in wanted])),
    )


def pool_hours(core_hours: float, tasks: int, cores: int) -> float:
    """Hours of `core_hours` of work that falls into equal tasks, in waves over `cores`, at EFFICIENCY."""
    return math.ceil(tasks / cores) * core_hours / tasks / EFFICIENCY if tasks else 0.0


def _wanted(steps: Sequence[Operator], rebuild: Sequence[str]) -> list[Operator]:
    """The operators to run: all, or those of these columns and whatever is made from them."""
    if unknown := [column for column in rebuild if column not in {step.column for step in steps}]:
        known = [step.column for step in steps]
        raise SettingsError(f"there is no column {unknown[0]!r}: {nearest(unknown[0], known)}")
    if not rebuild:
        return list(steps)
    renewed: list[Operator] = []
    for step in steps:
        if step.column in rebuild or {needed.column for needed in step.inputs} & {done.column for done in renewed}:
            renewed.append(step)
    return renewed


def _scan_phase(asked: Request, table: CostTable, group: WorkerGroup) -> Phase:
    rows, s3 = asked.rows, asked.store == "s3"
    part = min(PART_MAX, max(PART_MIN, rows // 16))
    tasks = math.ceil(rows / part)
    scan = _line("scan", rows, table.step("scan", asked.mix.jpeg_share), asked.mix, reads_source=True, gets=rows)
    tables = math.ceil(tasks / GROUPS_PER_FILE)
    # Each part is written by its task, and read by the driver once.
    parts = Line("tasks and records", 0, 0, gets=OPEN_READS * 2 * tasks, puts=tables + tasks)
    lists = Line("list the source", 0, 0, lists=math.ceil(rows / LIST_PAGE))
    return _phase("scan", [lists, scan, parts], tasks, group, s3)


def _column_phase(
    asked: Request, table: CostTable, group: WorkerGroup, steps: Sequence[Operator], wanted: Sequence[Operator]
) -> Phase:
    rows, mix, s3 = asked.rows, asked.mix, asked.store == "s3"
    shards = math.ceil(rows / asked.recipe.shard_rows)
    there = len(steps) + 1 if asked.rebuild else 1 / shards  # files of a shard; an empty prefix is one request too
    lines = [
        Line("list what lies there", 0, 0, lists=math.ceil(shards * there / LIST_PAGE)),
        _line("read and decode", rows, table.step("read", mix.jpeg_share), mix, reads_source=True, gets=rows),
    ]
    made = {step.column for step in wanted}
    for step in wanted:
        upstream = [needed.column for needed in step.inputs if needed.column not in made]
        share = asked.shares.get(step.column, 1.0)
        cost = table.step(step.column, mix.jpeg_share)
        read = sum(table.step(column, mix.jpeg_share).bytes.at(mix.megapixels) for column in upstream) * rows
        lines.append(_line(step.column, rows * share, cost, mix, puts=shards, gets=shards * len(upstream), read=read))
    if not asked.rebuild:
        lines.append(_line("row", rows, table.step("row", mix.jpeg_share), mix, puts=shards))
    tables = math.ceil(shards / GROUPS_PER_FILE)
    lines.append(Line("tasks and commit", 0, 0, gets=OPEN_READS * shards, puts=tables + COMMIT_WRITES))
    return _phase("columns", lines, shards, group, s3)


def _line(
    name: str,
    rows: float,
    cost: StepCost,
    mix: PictureMix,
    *,
    reads_source: bool = False,
    gets: int = 0,
    puts: int = 0,
    read: float = 0.0,
) -> Line:
    ms, size = cost.ms.at(mix.megapixels), cost.bytes.at(mix.megapixels) * rows
    read, written = (size, 0.0) if reads_source else (read, size)
    return Line(name, ms, ms * rows / 3.6e6, read, written, gets, puts)


def _phase(name: str, lines: Sequence[Line], tasks: int, group: WorkerGroup, s3: bool) -> Phase:
    if not s3:
        lines = [Line(line.step, line.ms, line.core_hours, line.read_bytes, line.written_bytes) for line in lines]
        lines = [line for line in lines if line.core_hours or line.written_bytes]
    hours = pool_hours(sum(line.core_hours for line in lines), tasks, group.cores)
    used = min(group.machines, math.ceil(tasks / group.cpus))
    return Phase(name, tuple(lines), tasks, hours, hours * used)


def _step_cost(fields: Mapping[str, Any]) -> StepCost:
    return StepCost(Linear(*fields["ms"]), Linear(*fields["bytes"]), fields["worst"])


def _mixed(one: Linear, other: Linear, share: float) -> Linear:
    return Linear(
        share * one.fixed + (1 - share) * other.fixed,
        share * one.per_megapixel + (1 - share) * other.per_megapixel,
    )


def _assumptions(asked: Request, table: CostTable, group: WorkerGroup, columns: Sequence[str]) -> list[str]:
    measured, mix = table.measured, asked.mix
    worst = max(table.step(column, mix.jpeg_share).worst for column in columns)
    lines = [
        f"measured: milliseconds and bytes of one core of {measured['machine']}, {measured['date']}, on "
        f"{measured['pictures']}; the fitted lines miss a measurement by at most {worst:.0%}",
        f"{mix.megapixels:.2f} megapixels a picture in the mean, {mix.jpeg_share:.0%} JPEG ({mix.origin})",
        f"assumed: a core of the cluster is as fast as the measured one; Ray reaches {EFFICIENCY} of a bare pool",
        "assumed: every picture becomes a row; the store keeps up; machines start at once and stop at the end",
        "not counted: listing, planning and commit on the driver, network, storage and its requests in money",
    ]
    lines += [f"assumed: {share:.0%} of the rows have {column}" for column, share in asked.shares.items()]
    return [*lines, *group.notes]
