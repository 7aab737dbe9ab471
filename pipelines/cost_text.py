"""A forecast as a table for people, and as a document."""

from dataclasses import asdict
from typing import Any

from pipelines.cost import Forecast, Line

HEADS = ("step", "ms a picture", "core hours", "read", "written", "GET", "PUT", "LIST")
COUNTS = ("read_bytes", "written_bytes", "gets", "puts", "lists")


def document(forecast: Forecast) -> dict[str, Any]:
    """JSON-able; hours and money unrounded."""
    totals = {name: sum(getattr(line, name) for line in _lines(forecast)) for name in COUNTS}
    totals |= {"hours": forecast.hours, "machine_hours": forecast.machine_hours, "cost": forecast.cost}
    return asdict(forecast) | {"totals": totals}


def text(forecast: Forecast) -> str:
    """The headline, a line for each step, and every assumption."""
    rows: list[tuple[str, ...]] = [HEADS]
    for phase in forecast.phases:
        rows.append((f"{phase.name}: {duration(phase.hours)}", "", _number(phase.core_hours), "", "", "", "", ""))
        rows += [_cells(line) for line in phase.lines]
    rows.append(_cells(_total(forecast), "total"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    table = [_aligned(row, widths) for row in rows]
    return "\n".join([headline(forecast), "", *table, "", *(f"- {line}" for line in forecast.assumptions)])


def headline(forecast: Forecast) -> str:
    """What, where, how long, how much."""
    group = forecast.group
    kind = f" ({group.instance})" if group.instance else ""
    devices = f", {group.gpus} GPUs" if group.gpus else ""
    money = (
        f"price {forecast.cost:,.2f}"
        if forecast.cost is not None
        else (f"no price known: give --price {group.name}=AMOUNT of a machine and hour")
    )
    mark = "estimate, " if forecast.estimate else ""
    machines = f"{group.machines} x {group.name}{kind} of {group.cpus} CPUs{devices}"
    return (
        f"{forecast.name}, {forecast.rows:,} rows, on {machines}: "
        f"{mark}{duration(forecast.hours)}, {forecast.machine_hours:,.2f} machine hours, {money}"
    )


def duration(hours: float) -> str:
    """0.02 -> 1.2 minutes; 50 -> 2.1 days."""
    for unit, size, most in (("seconds", 1 / 3600, 90), ("minutes", 1 / 60, 90), ("hours", 1.0, 48)):
        if hours / size < most:
            return f"{hours / size:.1f} {unit}"
    return f"{hours / 24:,.1f} days"


def _lines(forecast: Forecast) -> list[Line]:
    return [line for phase in forecast.phases for line in phase.lines]


def _total(forecast: Forecast) -> Line:
    sums = {name: sum(getattr(line, name) for line in _lines(forecast)) for name in (*COUNTS, "core_hours")}
    return Line("total", 0.0, **sums)


def _cells(line: Line, name: str = "") -> tuple[str, ...]:
    return (
        name or f"  {line.step}",
        f"{line.ms:,.2f}" if line.ms else "",
        _number(line.core_hours),
        _bytes(line.read_bytes),
        _bytes(line.written_bytes),
        *(f"{count:,}" if count else "" for count in (line.gets, line.puts, line.lists)),
    )


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
