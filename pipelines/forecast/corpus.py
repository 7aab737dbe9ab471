"""What a corpus build will take: core hours, GPU hours, machine hours, bytes and requests, before anyone submits it.

Steps cost what was measured (pipelines.forecast.measured). Requests are counted from the layout of a corpus. Networks
run on the cluster's GPUs where it has some, else on its cores. What is not measured is an assumption; each is listed
with the result.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dataprep.operators.operator import Operator
from dataprep.operators.styles import StyleSettings
from pipelines.common.overrides import SettingsError, nearest
from pipelines.corpus_build.lanes import lanes
from pipelines.corpus_build.scan_phase import PART_MAX, PART_MIN
from pipelines.execution.cluster_file import WorkerGroup
from pipelines.execution.task_tables import GROUPS_PER_FILE
from pipelines.extraction.learned_operators import corpus_operators, network_names
from pipelines.forecast.measured import CostTable, PictureMix, StepCost, step_name
from pipelines.forecast.rates import RateGiven, gpu_hours, gpu_time
from pipelines.recipes.build_recipe import BuildRecipe

EFFICIENCY = 0.85  # of a bare pool of processes that calls the same functions: the bar of the corpus benchmark
LIST_PAGE = 1000  # objects that one list request of S3 names
OPEN_READS = 3  # requests that read one row group of a Parquet file: its size, its footer, the group
COMMIT_WRITES = 5  # files, index, rejects, document, lineage
SHARES = {"sketch_drawn": 0.0, "mask": 0.0}  # rows that bring one: found pictures rarely do


@dataclass(frozen=True)
class Request:
    """What is asked for. `shares`: column -> share of rows that bring a value (drawn sketches, masks)."""

    name: str
    recipe: BuildRecipe
    rows: int
    mix: PictureMix
    store: str = "s3"  # or "disk"
    rebuild: tuple[str, ...] = ()  # only these columns and what is made from them; empty: everything
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    given: RateGiven = field(default_factory=RateGiven)

    def __post_init__(self) -> None:
        if self.rows < 1 or self.store not in ("s3", "disk"):
            raise ValueError("rows must be at least 1 and store s3 or disk")

    @property
    def shards(self) -> int:
        return math.ceil(self.rows / self.recipe.shard_rows)

    def share(self, step: Operator) -> float:
        """The share of rows for which a step computes a value."""
        style = step.column.removeprefix("sketch_")
        if hasattr(StyleSettings, style):
            return 1 - math.prod(1 - share for share in self.recipe.styles.wanted_by(style).values())
        brought = self.shares.get(step.column)
        if step.network is not None:
            return 1 - (brought or 0.0)  # what a row brings needs no network
        return 1.0 if brought is None else brought


@dataclass(frozen=True)
class Line:
    """One step over all rows. Bytes and requests are totals; `gpu_hours` of one device."""

    step: str
    ms: float  # of one core, on the mean picture
    core_hours: float
    read_bytes: float = 0.0
    written_bytes: float = 0.0
    gets: int = 0
    puts: int = 0
    lists: int = 0
    gpu_ms: float = 0.0
    gpu_hours: float = 0.0


@dataclass(frozen=True)
class Phase:
    """A phase that machines work through: its lines, the tasks it falls into, and its time on them."""

    name: str
    lines: tuple[Line, ...]
    tasks: int
    hours: float
    machine_hours: float
    group: WorkerGroup

    @property
    def core_hours(self) -> float:
        return sum(line.core_hours for line in self.lines)

    @property
    def gpu_hours(self) -> float:
        return sum(line.gpu_hours for line in self.lines)


@dataclass(frozen=True)
class Forecast:
    """The whole."""

    name: str
    rows: int
    phases: tuple[Phase, ...]
    assumptions: tuple[str, ...]
    estimate: bool = False  # whether more than arithmetic stands between the measurements and the hours

    @property
    def groups(self) -> tuple[WorkerGroup, ...]:
        """The kinds of machines that work, each once."""
        return tuple(dict.fromkeys(phase.group for phase in self.phases))

    @property
    def hours(self) -> float:
        return sum(phase.hours for phase in self.phases)

    @property
    def machine_hours(self) -> float:
        return sum(phase.machine_hours for phase in self.phases)

    @property
    def gpu_hours(self) -> float:
        return sum(phase.gpu_hours for phase in self.phases)

    @property
    def cost(self) -> float | None:
        """None where the price of a machine that works is not known."""
        prices = [phase.group.cost(phase.machine_hours, phase.hours) for phase in self.phases]
        return None if None in prices else sum(price for price in prices if price is not None)


@dataclass(frozen=True)
class _Asked:
    """A request with what its steps cost, and the machines for steps without networks and with them."""

    request: Request
    table: CostTable
    group: WorkerGroup
    gpus: WorkerGroup | None

    @property
    def seen(self) -> PictureMix:
        """What operators see: the pictures, or the canvas on which each lies."""
        canvas, mix = self.request.recipe.canvas.size, self.request.mix
        return PictureMix("canvas", canvas**2 / 1e6, 0.0, "the recipe's canvas") if canvas else mix

    def cost(self, step: Operator) -> StepCost:
        """What is done to a picture beside the network; the treatment of its strokes included."""
        own = self.table.step(step_name(step), self.seen.jpeg_share)
        return own.then(self.table.step("strokes", self.seen.jpeg_share)) if "strokes" in step.settings else own

    def gpu(self, step: Operator) -> tuple[float, str, bool]:
        """(milliseconds, how they are known, whether that is an estimate) of a GPU on the mean picture."""
        assert self.gpus is not None
        known, networks = self.table.network(step_name(step)), self.request.recipe.networks
        time = gpu_time(known, self.seen.megapixels, networks, self.gpus, self.request.given)
        return time.ms, time.origin, time.estimate


def forecast_corpus(
    request: Request, table: CostTable, group: WorkerGroup, gpus: WorkerGroup | None = None
) -> Forecast:
    """What a build takes on `group`, its networks on `gpus` where given; every picture is counted as a row."""
    asked = _Asked(request, table, group, gpus)
    steps = corpus_operators(request.recipe)
    wanted = _wanted(steps, request.rebuild)
    by_lane = [[step for step in wanted if step.column in lane.columns] for lane in lanes(steps)]
    phases = [] if request.rebuild else [_scan_phase(asked)]
    for number, lane in enumerate(lane for lane in by_lane if lane):
        phases.append(_lane_phase(asked, lane, len(steps), is_first=number == 0))
    on_gpu = [asked.gpu(step) for step in wanted if step.network is not None and gpus is not None]
    assumptions = [*_assumptions(asked, wanted), *dict.fromkeys(origin for _, origin, _ in on_gpu)]
    return Forecast(request.name, request.rows, tuple(phases), tuple(assumptions), any(guess for _, _, guess in on_gpu))


def takes_gpus(recipe: BuildRecipe, groups: Sequence[WorkerGroup]) -> bool:
    """Whether the recipe's networks run on GPUs where these machines are."""
    wanted = recipe.networks.device
    return bool(network_names(recipe)) and (wanted == "cuda" or (wanted == "auto" and any(g.devices for g in groups)))


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


def _scan_phase(asked: _Asked) -> Phase:
    rows, mix = asked.request.rows, asked.request.mix
    part = min(PART_MAX, max(PART_MIN, rows // 16))
    tasks = math.ceil(rows / part)
    scan = _line("scan", rows, asked.table.step("scan", mix.jpeg_share), mix, reads_source=True, gets=rows)
    lines = [Line("list the source", 0, 0, lists=math.ceil(rows / LIST_PAGE)), scan]
    if asked.request.recipe.filters.ask_for_content:  # of every picture, in the scan's task, on its core
        lines.append(_line("content", rows, asked.table.step("content", mix.jpeg_share), mix))
    tables = math.ceil(tasks / GROUPS_PER_FILE)
    # Each part is written by its task, and read by the driver once.
    lines.append(Line("tasks and records", 0, 0, gets=OPEN_READS * 2 * tasks, puts=tables + tasks))
    return _phase("scan", lines, tasks, asked, None)


def _lane_phase(asked: _Asked, steps: Sequence[Operator], columns: int, *, is_first: bool) -> Phase:
    """The steps that one worker takes on a shard in one go; the first lane has the requests of the whole besides."""
    request, mix = asked.request, asked.request.mix
    reading = asked.table.step("read", mix.jpeg_share)
    lines = [_line("read and decode", request.rows, reading, mix, reads_source=True, gets=request.rows)]
    lines += [_step_line(asked, step, {made.column for made in steps}) for step in steps]
    if is_first:
        lines = [*_around(asked, columns), *lines]
        if not request.rebuild:
            cost = asked.table.step("row", mix.jpeg_share)
            lines.append(_line("row", request.rows, cost, mix, puts=request.shards))
    has_networks = any(step.network is not None for step in steps)
    name = "networks" if has_networks else "columns"
    return _phase(name, lines, request.shards, asked, asked.gpus if has_networks else None)


def _around(asked: _Asked, columns: int) -> Iterator[Line]:
    """The requests that belong to no column."""
    shards = asked.request.shards
    there = columns + 1 if asked.request.rebuild else 1 / shards  # files of a shard; an empty prefix is one request too
    yield Line("list what lies there", 0, 0, lists=math.ceil(shards * there / LIST_PAGE))
    tables = math.ceil(shards / GROUPS_PER_FILE)
    yield Line("tasks and commit", 0, 0, gets=OPEN_READS * shards, puts=tables + COMMIT_WRITES)


def _step_line(asked: _Asked, step: Operator, made: set[str]) -> Line:
    """A column over all rows; `made` are the columns of its lane, the others are read from their files."""
    request, mix = asked.request, asked.seen
    upstream = [needed for needed in step.inputs if needed.column not in made]
    read = sum(asked.cost(needed).bytes.at(mix.megapixels) * request.share(needed) for needed in upstream)
    rows = request.rows * request.share(step)
    puts, gets = request.shards, request.shards * len(upstream)
    line = _line(step.column, rows, asked.cost(step), mix, puts=puts, gets=gets, read=read * request.rows)
    if step.network is None:
        return line
    if asked.gpus is None:
        ms = asked.table.network(step_name(step)).ms.at(mix.megapixels)
        return replace(line, ms=line.ms + ms, core_hours=line.core_hours + ms * rows / 3.6e6)
    ms, _, _ = asked.gpu(step)
    return replace(line, gpu_ms=ms, gpu_hours=ms * rows / 3.6e6)


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
    return Line(name, ms=ms, core_hours=ms * rows / 3.6e6, read_bytes=read, written_bytes=written, gets=gets, puts=puts)


def _phase(name: str, lines: Sequence[Line], tasks: int, asked: _Asked, gpus: WorkerGroup | None) -> Phase:
    if asked.request.store != "s3":
        lines = [replace(line, gets=0, puts=0, lists=0) for line in lines if line.core_hours or line.written_bytes]
    core_hours = sum(line.core_hours for line in lines)
    group = gpus or asked.group
    if gpus is None:
        hours, per_machine = pool_hours(core_hours, tasks, group.cores), group.cpus
    else:
        networks = asked.request.recipe.networks
        device_hours = sum(line.gpu_hours for line in lines)
        hours = gpu_hours(device_hours, core_hours, tasks, networks, gpus) / EFFICIENCY
        per_machine = gpus.gpus * networks.per_gpu
    used = min(group.machines, math.ceil(tasks / per_machine))
    return Phase(name=name, lines=tuple(lines), tasks=tasks, hours=hours, machine_hours=hours * used, group=group)


def _assumptions(asked: _Asked, steps: Sequence[Operator]) -> list[str]:
    measured, request, mix = asked.table.measured, asked.request, asked.request.mix
    worst = max(asked.cost(step).worst for step in steps)
    lines = [
        f"measured: milliseconds and bytes of one core of {measured['machine']}, {measured['date']}, on "
        f"{measured['pictures']}; the fitted lines miss a measurement by at most {worst:.0%}",
        f"{mix.megapixels:.2f} megapixels a picture in the mean, {mix.jpeg_share:.0%} JPEG ({mix.origin})",
        f"assumed: a core of the cluster is as fast as the measured one; Ray reaches {EFFICIENCY} of a bare pool",
        "assumed: every picture becomes a row; the store keeps up; machines start at once and stop at the end",
        "not counted: listing, planning and commit on the driver, network, storage and its requests in money",
    ]
    lines += [f"assumed: {share:.0%} of the rows bring a {column}" for column, share in request.shares.items()]
    if request.recipe.filters.ask_for_content and not request.rebuild:
        lines.append("measured: the network of the content filters with random weights; it sees every picture")
    if any(step.network is not None for step in steps):
        lines += [
            f"measured: networks in float32 with random weights of the published shapes, {measured.get('networks')}; "
            "bytes of line art and masks by stand-ins",
            "phases are counted one after another; where networks have GPUs they overlap",
        ]
    notes = [note for group in (asked.group, asked.gpus) if group for note in group.notes]
    return [*lines, *dict.fromkeys(notes)]
