"""Six million rows without pixels: `python -m benchmarks.corpus.scale --rows 6000000 --out runs/scale.json`

Plans, commits, compares and opens a corpus whose pictures are made up (benchmarks.corpus.made_up_rows), and prints
after each phase its time and the highest memory that the process ever had (VmHWM in /proc; so this needs Linux). The
second snapshot has 1 % more pictures, lacks a few, and has one column made by another operator. Column files are not
written, but for the `row` files that the comparison opens. Times want a machine that does nothing else.
"""

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.corpus.made_up_rows import judged, made_up_records
from benchmarks.measuring import Section, markdown
from dataprep.corpus.column_files import ColumnFile, column_path, write_table
from dataprep.corpus.hashes import short_hash, unhex
from dataprep.corpus.reader import CorpusReader
from dataprep.corpus.schema import ROW_SCHEMA
from dataprep.corpus.snapshot import Contents, Snapshot, commit, open_snapshot
from dataprep.corpus_tools.diff import Difference, diff
from dataprep.plan.near_duplicates import near_duplicates
from dataprep.plan.row_plan import Plan, make_plan
from dataprep.plan.split import assign_splits
from dataprep.samples.sample_plan import SamplePlan
from dataprep.storage import store as storage
from pipelines.common.process_memory import peak_mib
from pipelines.recipes.build_recipe import BuildRecipe

ROWS = 6_000_000
MOST_GIB = 8.0
COLUMNS = ("row", "color", "mask", "sketch_mask", "region_map", *(f"sketch_{n}" for n in range(7)))  # 12 files a shard
NEW_SHARE, GONE = 0.01, 8

ABOUT = f"""\
Seconds by the clock, and the peak resident memory of the process up to the end of the phase, in GiB; less than
{MOST_GIB:.0f} GiB is wanted. `plan` does what the lines `split` and `near duplicates` measure alone, and exact
duplicates, buckets, shards and rejects besides."""


@dataclass(frozen=True)
class Phases:
    """What each phase took, in order."""

    rows: list[dict[str, Any]]

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.rows.append({"phase": name, "s": round(time.perf_counter() - started, 2), "peak GiB": peak_gib()})


def peak_gib() -> float:
    """The highest resident memory that this process ever had."""
    return round(peak_mib() / 2**10, 2)


def run(rows: int, out: Path) -> Section:
    """Every phase on `rows` records, in a corpus below `out`."""
    uri, phases, recipe = str(out / "corpus"), Phases([]), BuildRecipe()
    with phases.phase("make and judge records"):
        records = pa.concat_tables([judged(block, recipe.filters) for block in made_up_records(rows)])
    first = _first_snapshot(uri, records.slice(0, int(rows * (1 - NEW_SHARE))), recipe, phases, out / "rows.parquet")
    second = _second_snapshot(uri, records.slice(GONE), recipe, phases, out / "rows.parquet")
    del records
    with phases.phase("diff of the two snapshots"):
        difference = diff(uri, 1, uri, 2)
    _check(difference, first, second)
    with phases.phase("reader start: open, plan samples, place the first"):
        reader = CorpusReader(uri, "train", ["color", "sketch_0"], facts=False)
        place = reader.place(SamplePlan(len(reader), seed=0).row_of(0))
    about = f"{ABOUT} {rows:,} records, {len(second):,} rows, {os.cpu_count()} cores; first sample {place.id[:12]}."
    return Section("Without pixels", about, phases.rows, peak_gib() < MOST_GIB)


Ids = npt.NDArray[np.uint64]  # (N,): 8 bytes of an id are enough to tell it


def _first_snapshot(uri: str, records: pa.Table, recipe: BuildRecipe, phases: Phases, keep: Path) -> Ids:
    with phases.phase("split"):
        assign_splits(records["group"], unhex(records["id"]), recipe.validation_share)
    with phases.phase("near duplicates"):
        near_duplicates(records["phash"].to_numpy(), recipe.filters.phash_distance)
    with phases.phase("plan"):
        plan = make_plan(records, recipe)
    pq.write_table(plan.rows, keep)
    _commit(uri, plan, None, "", phases)
    return _short(plan.rows["id"])


def _second_snapshot(uri: str, records: pa.Table, recipe: BuildRecipe, phases: Phases, kept: Path) -> Ids:
    with phases.phase("open the newest snapshot and read its index"):
        earlier = open_snapshot(uri)
        index = earlier.table("index")
    with phases.phase("plan with an earlier snapshot"):
        plan = make_plan(records, recipe, index)
    before, after = set(pc.unique(index["shard"]).to_pylist()), {shard.name for shard in plan.shards}
    with pq.ParquetFile(kept) as file:
        _write_row_files(uri, index, before - after, (pa.table(batch) for batch in file.iter_batches()))
    del index
    _write_row_files(uri, plan.index(), after - before, [plan.rows])
    _commit(uri, plan, earlier, "mask", phases)
    return _short(plan.rows["id"])


def _commit(uri: str, plan: Plan, earlier: Snapshot | None, changed: str, phases: Phases) -> None:
    files = list(_files(plan, changed))
    operators = {
        column: {"name": column, "settings": {}, "version": 1, "fingerprint": _mark(column, changed)}
        for column in COLUMNS
    }
    with phases.phase(f"commit {len(files):,} files and {len(plan.rows):,} rows"):
        commit(uri, Contents(files, plan.index(), plan.rejects, operators, ["made up"], {}), earlier)


def _check(difference: Difference, first: Ids, second: Ids) -> None:
    """The difference is that of the two sets of ids, and one column of the rows in both."""
    added, removed = len(np.setdiff1d(second, first)), len(np.setdiff1d(first, second))
    told = sum(difference.added.values()), sum(difference.removed.values()), difference.columns["mask"].rows
    if told != (added, removed, len(first) - removed) or difference.facts or len(difference.columns) > 1:
        raise RuntimeError(f"the difference is wrong: {difference.document()}")


def _short(ids: pa.ChunkedArray) -> Ids:
    return np.ascontiguousarray(unhex(ids)[:, :8]).view(np.uint64).ravel()


def _write_row_files(uri: str, index: pa.Table, shards: set[str], rows: Iterable[pa.Table]) -> None:
    """Write the `row` files of these shards, with the facts of the rows that they hold."""
    held = index.filter(pc.is_in(index["shard"], pa.array(shards, pa.string())))
    held = held.sort_by([("shard", "ascending"), ("position", "ascending")])
    facts = pa.concat_tables([some.filter(pc.is_in(some["id"], held["id"])) for some in rows])
    facts = facts.take(pc.index_in(held["id"], facts["id"])).combine_chunks()
    known = {name: facts[name] for name in facts.schema.names} | {"source": facts["uri"]}
    known["tags"] = pa.array([[]] * len(facts), ROW_SCHEMA.field("tags").type)
    columns = [known.get(field.name, pa.nulls(len(facts), field.type)) for field in ROW_SCHEMA]
    table, start = pa.table(columns, schema=ROW_SCHEMA), 0
    for count in held["shard"].value_counts().to_pylist():
        split = held["split"][start].as_py()
        path = column_path(split, count["values"], "row", _mark("row", ""))
        storage.write_whole(storage.join(uri, path), write_table(table.slice(start, count["counts"])))
        start += count["counts"]


def _files(plan: Plan, changed: str) -> Iterator[ColumnFile]:
    """What a build would say of the column files of all shards; sizes and hashes are made up."""
    for shard in plan.shards:
        for column in COLUMNS:
            mark, size = _mark(column, changed), len(shard)
            path = column_path(shard.split, shard.name, column, mark)
            made_up = hashlib.sha256(path.encode()).hexdigest()
            yield ColumnFile(
                shard.name, shard.split, column, mark, path, size, 0, "{}", size * 90_000, made_up, made_up
            )


def _mark(column: str, changed: str) -> str:
    """The operator's fingerprint; of the changed column another one."""
    return short_hash([column, column == changed])


def main() -> None:
    """Print the table, and keep it with --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        section = run(arguments.rows, Path(folder))
    print(markdown(replace(section, name=f"{section.name}: {arguments.rows:,} pictures")))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"records": arguments.rows, "phases": section.rows}, indent=2))
    raise SystemExit(0 if section.met else 1)


if __name__ == "__main__":
    main()
