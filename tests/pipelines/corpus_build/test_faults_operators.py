"""Operators that raise, hang, die, want too much or give the wrong thing: each costs its own cell and no other."""

import gc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataprep.corpus.column_files import read_rows
from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.errors import DataError
from dataprep.limits import LimitSettings
from dataprep.pictures.decode import encode_png
from dataprep.pictures.identity import content_id
from pipelines.corpus_build.build import BuildReport, run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import SMALL, picture, write_pictures
from tests.faults import Survived
from tests.pipelines.corpus_build.fault_operators import COLUMN, DRILL, forget, write_drills
from tests.pipelines.corpus_build.rows_compared import rows_compared

DRILLED = replace(SMALL, extra_operators=(DRILL,), limits=LimitSettings(seconds_per_picture=1, memory_bytes=256 << 20))
PICTURES = 24


def failures(out: str) -> dict[str, str]:
    """id -> error, of the drilled column."""
    files = open_snapshot(out).table("files").to_pylist()
    rows = [
        row
        for file in files
        if file["column"] == COLUMN
        for row in read_rows(Path(out, file["path"]).read_bytes(), COLUMN, file["path"])
    ]
    assert len(rows) == len({row["id"] for row in rows}) == PICTURES
    assert all((row[COLUMN] is None) == (row["error"] is not None) for row in rows)
    return {row["id"]: row["error"] for row in rows if row["error"]}


def cells(out: str) -> dict[str, int]:
    """column -> sum over the cells of all shards, of the columns that are not drilled."""
    sums: Counter[str] = Counter()
    for file in open_snapshot(out).table("files").to_pylist():
        sums[file["column"]] += int(file["cells"], 16)
    return {column: total for column, total in sums.items() if column != COLUMN}


def ids_of(source: Path, numbers: dict[int, str]) -> dict[int, str]:
    return {number: content_id((source / f"p{number:04d}.png").read_bytes()) for number in numbers}


def check(report: BuildReport, source: Path, drills: dict[int, str], expected: dict[int, str]) -> dict[str, int]:
    """Every failure is where it was asked for, and everything else is as in a build without drills.

    Returns the rows lost and doubled, with the cells that failed beside those that had to.
    """
    out, ids = report.out, ids_of(source, drills)
    assert sum(report.rows.values()) == PICTURES
    assert failures(out) == {ids[number]: error for number, error in expected.items()}
    assert report.failures == ({COLUMN: len(expected)} if expected else {})
    assert verify(out) == []
    assert not [path for path in Path(out, "plan").rglob("*") if path.is_file()]
    plain = f"{out}-plain"
    run_build([str(source)], plain, SMALL, engine=in_process)
    assert cells(out) == cells(plain)
    forget(list(ids.values()))
    counts = rows_compared(out, plain)
    return counts | {"lost": counts["lost"] + len(failures(out).keys() - {ids[number] for number in expected})}


GENTLE = {2: "raises", 5: "waits", 7: "nan", 9: "wrong size", 11: "wrong kind", 14: "cut short", 20: "hoards"}
GENTLE_ERRORS = {
    2: "raised: KeyError: 'no such layer'",
    5: "timeout: took more than 1 s",
    7: "not-finite: 1 of 12288 values are NaN or infinite",
    9: "wrong-size: the value is 128x95, the picture 128x96",
    11: "bad-output: gave str, not PNG bytes or an array",
    14: "bad-output: gave a PNG that is cut short",
    20: "out-of-memory: MemoryError: Unable to allocate 1.00 GiB for an array with shape (1073741824,) and data type "
    "uint8",
}


def test_an_operator_that_fails_costs_the_cell_and_says_why(tmp_path: Path, survived: Survived) -> None:
    source = write_drills(tmp_path / "source", GENTLE, PICTURES)
    report = run_build([str(source)], str(tmp_path / "out"), DRILLED, engine=in_process)
    counts = check(report, source, GENTLE, GENTLE_ERRORS)
    survived("operator fails, waits or gives the wrong thing", work="corpus build", tries=len(GENTLE), **counts)


def others(drill_random: np.random.Generator, count: int) -> list[int]:
    """Pictures that are not among the gentle drills."""
    return [int(number) for number in drill_random.permutation([n for n in range(PICTURES) if n not in GENTLE])[:count]]


@pytest.mark.drill
@pytest.mark.ray
def test_what_ends_a_worker_or_hangs_it_costs_the_cell_and_the_shard_is_finished(
    ray_engine: None, tmp_path: Path, drill_random: np.random.Generator, survived: Survived
) -> None:
    hangs, dies, dies_once = others(drill_random, 3)
    drills = GENTLE | {hangs: "hangs in C", dies: "dies", dies_once: "dies once"}
    source = write_drills(tmp_path / "source", drills, PICTURES)
    report = run_build([str(source)], str(tmp_path / "out"), DRILLED)
    errors = {hangs: "timeout: hung for more than 1 s", dies: "crashed: the worker died on it 2 times"}
    counts = check(report, source, drills, GENTLE_ERRORS | errors)
    survived("operator kills or hangs its process", work="corpus build", tries=3, **counts)


@pytest.mark.drill
@pytest.mark.ray
def test_a_killed_worker_costs_nothing(
    ray_engine: None, tmp_path: Path, drill_random: np.random.Generator, survived: Survived
) -> None:
    drills = dict.fromkeys(others(drill_random, 2), "dies once")
    source = write_drills(tmp_path / "source", drills, PICTURES)
    report = run_build([str(source)], str(tmp_path / "out"), DRILLED)
    again = run_build([str(source)], str(tmp_path / "undisturbed"), DRILLED, engine=in_process)  # they died already
    assert report.digest == again.digest
    survived("worker killed", work="corpus build", tries=len(drills), **check(report, source, drills, {}))


def test_limits_are_no_part_of_what_a_corpus_holds(tmp_path: Path) -> None:
    source, out = write_drills(tmp_path / "source", {2: "raises"}, 4), str(tmp_path / "out")
    first = run_build([str(source)], out, DRILLED, engine=in_process)
    other = replace(DRILLED, limits=LimitSettings(seconds_per_picture=7))
    second = run_build([str(source)], out, other, engine=in_process)
    assert (second.digest, second.is_new, sum(second.computed.values())) == (first.digest, False, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.such.module:drill", "no.such.module"),
        ("tests.pipelines.corpus_build.fault_operators:no_such", "no_such"),
        ("dataprep.operators.operator", "module:function"),
    ],
)
def test_an_operator_that_cannot_be_had_is_said_before_work_starts(tmp_path: Path, name: str, message: str) -> None:
    source = write_drills(tmp_path / "source", {}, 1)
    with pytest.raises((DataError, ValueError), match=message):
        run_build([str(source)], str(tmp_path / "out"), BuildRecipe(extra_operators=(name,)), engine=in_process)


# ---- the scan -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (LimitSettings(seconds_per_picture=0.05), "timeout"),
        (LimitSettings(memory_bytes=16 << 20), "out-of-memory"),
    ],
)
def test_a_picture_that_costs_too_much_to_look_at_is_a_reject_that_can_be_tried_again(
    tmp_path: Path, limits: LimitSettings, reason: str
) -> None:
    source, out = write_pictures(tmp_path / "source", 4), str(tmp_path / "out")
    recipe = replace(SMALL, filters=replace(SMALL.filters, max_side=2000))
    run_build([str(source)], out, recipe, engine=in_process)
    (source / "huge.png").write_bytes(encode_png(np.tile(picture(7), (100, 100, 1))))  # 4800 x 6400
    gc.collect()  # what earlier tests left would make room for the picture when it goes
    tight = run_build([str(source)], out, replace(recipe, limits=limits), engine=in_process)
    assert (sum(tight.rows.values()), dict(tight.rejects)) == (4, {reason: 1})
    kept = run_build([str(source)], out, recipe, engine=in_process)
    assert (kept.is_new, dict(kept.rejects)) == (False, {reason: 1})  # nobody asked for another try
    tried = run_build([str(source)], out, recipe, engine=in_process, retry=(reason,))
    assert (sum(tried.rows.values()), dict(tried.rejects)) == (4, {"too-large": 1})
    assert verify(out) == []


def test_a_failed_cell_is_computed_when_it_is_tried_again_with_other_limits(tmp_path: Path) -> None:
    source, out = write_drills(tmp_path / "source", {2: "pauses", 3: "raises"}, 8), str(tmp_path / "out")
    assert run_build([str(source)], out, DRILLED, engine=in_process).failures == {COLUMN: 2}
    patient = replace(DRILLED, limits=LimitSettings())
    report = run_build([str(source)], out, patient, engine=in_process, retry=("timeout",))
    assert report.failures == {COLUMN: 1}
    assert dict(report.computed) == {COLUMN: 1}  # one shard of one column
    assert report.digest == run_build([str(source)], f"{out}-at-once", patient, engine=in_process).digest
