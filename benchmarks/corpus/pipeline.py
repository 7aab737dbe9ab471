"""The light pipeline over Ray beside a bare pool of processes that calls the same functions on the same cores.

The light pipeline: read, decode, hash, XDoG, region map, encode, write. A build does more with each picture than the
pool does (it reads and decodes once to judge a picture and once to derive its columns, keeps limits of time and memory,
checks what it made, describes every file, plans and commits); the ratio says what all of that costs.
"""

import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import cv2

from benchmarks.measuring import Section
from dataprep.corpus.column_files import ColumnWriter
from dataprep.operators.row_input import RowInput
from dataprep.pictures.decode import decode
from dataprep.pictures.identity import content_id, phash, pixel_hash
from dataprep.sources import SourceItem, list_items, read_item
from dataprep.storage import store as storage
from pipelines.corpus_build.build import run_build
from pipelines.corpus_build.report import BuildReport
from pipelines.execution.ray_session import ray_session
from pipelines.extraction.learned_operators import corpus_operators
from pipelines.recipes.build_recipe import BuildRecipe
from pipelines.recipes.corpora import CORPUS_RECIPES

BAR = 0.85
WARM_UP = 4  # pictures; after them the workers run and have imported everything

ABOUT = f"""\
Pictures a second by the clock on as many CPUs, runs taken in turns (median of the runs). The pool: processes that read,
decode, hash, derive and encode the same columns with the same functions and write the same Parquet files, with nothing
planned, checked or committed. Start-up, reported apart: until the first {WARM_UP} pictures are through. At least {BAR}
of the pool's rate is wanted."""


def run(source: str, count: int, runs: int, out: Path, workers: int = 2, shard_rows: int = 64) -> Section:
    """`runs` builds and as many pool runs of the first `count` pictures, written below `out`."""
    items = list(list_items(source))[:count]
    recipe = replace(CORPUS_RECIPES["plain"], shard_rows=shard_rows)
    rates: dict[str, list[float]] = {"irodori corpus build": [], "bare pool": []}
    starts: dict[str, float] = {}
    reports: list[BuildReport] = []
    started = time.monotonic()
    with ray_session(out / "engine.log", num_cpus=workers):
        run_build([source], str(out / "warm"), recipe, limit=WARM_UP)
        starts["irodori corpus build"] = time.monotonic() - started
        started = time.monotonic()
        with _pool(workers) as pool:
            _by_pool(pool, items[:WARM_UP], str(out / "pool-warm"), recipe, 1)
            starts["bare pool"] = time.monotonic() - started
            for number in range(runs):
                started = time.monotonic()
                reports.append(run_build([source], str(out / f"build-{number}"), recipe, limit=count))
                rates["irodori corpus build"].append(sum(reports[-1].rows.values()) / (time.monotonic() - started))
                started = time.monotonic()
                _by_pool(pool, items, str(out / f"pool-{number}"), recipe, shard_rows)
                rates["bare pool"].append(len(items) / (time.monotonic() - started))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = medians["irodori corpus build"] / medians["bare pool"]
    rows = [
        {
            "engine": name,
            "pictures": len(items),
            "start-up, s": round(starts[name], 1),
            "pictures/s": medians[name],
            "runs": ", ".join(f"{rate:.1f}" for rate in rates[name]),
            "ratio": round(ratio, 3) if name != "bare pool" else None,
        }
        for name in rates
    ]
    return Section("Light pipeline", f"{ABOUT}\n\n{_phases(reports)}", rows, ratio >= BAR)


def _phases(reports: Sequence[BuildReport]) -> str:
    """Where the time of the builds went."""
    names = list(reports[0].seconds)
    seconds = {name: statistics.median(report.seconds[name] for report in reports) for name in names}
    return "Phases of a build: " + ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items()) + "."


# ---- the pool -------------------------------------------------------------------------------------------------------


@contextmanager
def _pool(workers: int) -> Iterator[Pool]:
    # Not forked: this process has threads of Ray and Arrow.
    with multiprocessing.get_context("spawn").Pool(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield pool


def _by_pool(pool: Pool, items: Sequence[SourceItem], out: str, recipe: BuildRecipe, shard_rows: int) -> None:
    shards = [items[start : start + shard_rows] for start in range(0, len(items), shard_rows)]
    tasks = [(shard, f"{out}/{number:05d}", recipe) for number, shard in enumerate(shards)]
    for _ in pool.imap_unordered(_make_shard, tasks):
        pass


def _make_shard(task: tuple[Sequence[SourceItem], str, BuildRecipe]) -> None:
    """All column files of some pictures, in one pass."""
    items, folder, recipe = task
    wanted = corpus_operators(recipe)
    writers = {operator.column: ColumnWriter(operator.column) for operator in wanted}
    rows = ColumnWriter("row")
    for item in items:
        data = read_item(item)
        row_id, picture = content_id(data.data), decode(data.data)
        height, width = picture.rgb.shape[:2]
        cells: dict[str, bytes | None] = {}
        row = RowInput(row_id, data.data, picture, data.drawn_sketch, data.mask, cells)
        for operator in wanted:
            cells[operator.column] = operator.value(row)
            writers[operator.column].add(row_id, cells[operator.column])
        known: dict[str, Any] = {"id": row_id, "source": item.uri, "width": width, "height": height}
        hashes = {"pixel_hash": pixel_hash(picture.rgb), "phash": phash(picture.rgb)}
        rows.add_row(known | hashes | {"split": "train", "tags": list(item.tags), "bucket": ""})
    for column, writer in (writers | {"row": rows}).items():
        storage.write_whole(f"{folder}/{column}.parquet", writer.finish())
