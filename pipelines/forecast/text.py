"""A forecast as a table for people, and as a document."""

from dataclasses import asdict
from typing import Any

from pipelines.execution.cluster_file import WorkerGroup
from pipelines.forecast.corpus import Forecast, Line

HEADS = ("step", "ms a picture", "core hours", "GPU ms", "GPU hours", "read", "written", "GET", "PUT", "LIST")
COUNTS = ("read_bytes", "written_bytes", "gets", "puts", "lists")
_SUMS = (*COUNTS, "core_hours", "gpu_hours")


def document(forecast: Forecast) -> dict[str, Any]:
    """JSON-able; hours and money unrounded."""
    totals = {name: sum(getattr(line, name) for line in _lines(forecast)) for name in _SUMS}
    totals |= {"hours": forecast.hours, "machine_hours": forecast.machine_hours, "cost": forecast.cost}
    return asdict(forecast) | {"totals": totals}


def text(forecast: Forecast) -> str:
    """The headline, a line for each step, and every assumption; columns that nothing stands in are left out."""
    rows: list[tuple[str, ...]] = []
    for phase in forecast.phases:
        hours = Line(f"{phase.name}: {duration_of_hours(phase.hours)}", 0, phase.core_hours, gpu_hours=phase.gpu_hours)
        rows += [_cells(hours), *(_cells(line, f"  {line.step}") for line in phase.lines)]
    rows.append(_cells(_total(forecast)))
    used = [column for column in range(len(HEADS)) if any(row[column] for row in rows)]
    rows = [tuple(row[column] for column in used) for row in (HEADS, *rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(used))]
    table = [_aligned(row, widths) for row in rows]
    return "\n".join([headline(forecast), "", *table, "", *(f"- {line}" for line in forecast.assumptions)])


def headline(forecast: Forecast) -> str:
    """What, where, how long, how much."""
    unpriced = " ".join(f"--price {group.name}=AMOUNT" for group in forecast.groups if group.price is None)
    money = (
        f"no price known: give {unpriced} of a machine and hour"
        if forecast.cost is None
        else f"price {forecast.cost:,.2f}"
    )
    mark = "estimate, " if forecast.estimate else ""
    machines = " and ".join(_machines(group) for group in forecast.groups)
    return (
        f"{forecast.name}, {forecast.rows:,} rows, on {machines}: "
        f"{mark}{duration_of_hours(forecast.hours)}, {forecast.machine_hours:,.2f} machine hours, {money}"
    )


def _machines(group: WorkerGroup) -> str:
    kind = f" ({group.instance})" if group.instance else ""
    devices = f", {group.gpus} GPUs" if group.gpus else ""
    return f"{group.machines} x {group.name}{kind} of {group.cpus} CPUs{devices}"


def duration_of_hours(hours: float) -> str:
    """0.02 -> 1.2 minutes; 50 -> 2.1 days."""
    for unit, size, most in (("seconds", 1 / 3600, 90), ("minutes", 1 / 60, 90), ("hours", 1.0, 48)):
        if hours / size < most:
            return f"{hours / size:.1f} {unit}"
    return f"{hours / 24:,.1f} days"


def _lines(forecast: Forecast) -> list[Line]:
    return [line for phase in forecast.phases for line in phase.lines]


def _total(forecast: Forecast) -> Line:
    return Line("total", 0.0, **{name: sum(getattr(line, name) for line in _lines(forecast)) for name in _SUMS})


def _cells(line: Line, name: str = "") -> tuple[str, ...]:
    return (
        name or line.step,
        *(_milliseconds(line.ms), _number(line.core_hours)),
        *(_milliseconds(line.gpu_ms), _number(line.gpu_hours)),
        *(_bytes(line.read_bytes), _bytes(line.written_bytes)),
        *(f"{count:,}" if count else "" for count in (line.gets, line.puts, line.lists)),
    )


def _milliseconds(value: float) -> str:
    return f"{value:,.2f}" if value else ""


def _number(value: float) -> str:
    return "" if not value else f"{value:,.1f}" if value >= 10 else f"{value:.3g}"


def _bytes(count: float) -> str:
    """Powers of ten, "" for none."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if count else ""
        count /= 1000
    return f"{count:,.2f} TB"


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    return "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()
