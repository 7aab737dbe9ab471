"""What the corpus benchmarks share: pictures to measure on, interleaved timing, and tables.

Times are CPU time of this process on one thread, so that a rate is a rate per core. Rivals take turns in an order that
rotates, each after a call that is not counted (the memory that the one before gave back has to be fetched again).
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from dataprep.sources import list_items, read_item
from pipelines.common.shipped_pictures import ASSEMBLED

DEFAULT_PICTURES = Path(__file__).parents[2] / "shared" / "data" / "storybook"  # beside a checkout, where it is there

Row = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """One table; `rows` have the same keys. `met` is None where nothing was promised."""

    name: str
    about: str  # what is compared with what
    rows: Sequence[Row]
    met: bool | None


def source_of(folder: str | None) -> tuple[str, str]:
    """(address, what to call it) of the pictures: the folder asked for, the default one, or the shipped drawings."""
    if folder is not None:
        return folder, f"the pictures of {Path(folder).name}"
    if DEFAULT_PICTURES.is_dir():
        return str(DEFAULT_PICTURES), f"the pictures of {DEFAULT_PICTURES.name}"
    return ASSEMBLED, "the drawings that ship with the project"


def picture_bytes(source: str, count: int) -> list[bytes]:
    """The encoded bytes of `count` pictures spread evenly over a source."""
    items = list(list_items(source))
    step = max(1, len(items) // count)
    return [read_item(item).data for item in items[::step][:count]]


def in_turns(
    rivals: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
    results: dict[str, Any] | None = None,
) -> dict[str, float]:
    """The median seconds of each by a clock; a first run, which may compile, is not counted. What they gave last goes
    to `results`."""
    took: dict[str, list[float]] = {name: [] for name in rivals}
    names = list(rivals)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = clock()
            given_back = rivals[name]()
            took[name].append(clock() - started)
            if results is not None:
                results[name] = given_back
    return {name: statistics.median(seconds[1:]) for name, seconds in took.items()}


def clock_of(device: str) -> Callable[[], float]:
    """Seconds of this process on a CPU; of the clock on a GPU, once it has done what it was given."""
    return time.process_time if device == "cpu" else _on_device


def _on_device() -> float:
    import torch  # not needed by the benchmarks of the corpus

    torch.cuda.synchronize()
    return time.perf_counter()


def take_turns(rivals: Mapping[str, Callable[[Any], Any]], jobs: Sequence[Any], rounds: int) -> dict[str, float]:
    """Median CPU seconds that each rival needs for all jobs together."""
    cv2.setNumThreads(1)
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    names = list(rivals)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            rivals[name](jobs[0])
            started = time.process_time()
            for job in jobs:
                rivals[name](job)
            seconds[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def fresh(work: Callable[..., Any], *given: Any) -> Any:
    """`work(*given)` in a process of its own, which may have children; its memory goes with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *given).result()


def markdown(section: Section) -> str:
    """A section as Markdown: its heading, what it compares, and its table."""
    head = {None: "", True: " (bar met)", False: " (bar NOT met)"}[section.met]
    lines = [f"## {section.name}{head}", "", section.about, ""]
    if section.rows:
        lines += ["| " + " | ".join(section.rows[0]) + " |", "|" + "---|" * len(section.rows[0])]
        lines += ["| " + " | ".join(_shown(value) for value in row.values()) + " |" for row in section.rows]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)
