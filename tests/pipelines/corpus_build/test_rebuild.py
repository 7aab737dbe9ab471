"""A rebuild writes what changed and little more, and says of everything else where it is and why."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dataprep.corpus.column_files import read_rows
from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.errors import DataError
from dataprep.pictures.assembled import shipped_templates
from dataprep.samples.buckets import BucketSettings
from dataprep.storage.store import write_whole
from pipelines.corpus_build.build import run_build
from pipelines.corpus_build.job import BuildJob
from pipelines.execution.ray_data import Task, Work, in_process
from pipelines.recipes.corpora import CORPUS_RECIPES
from tests.corpus_pictures import SMALL, write_pictures

SHIPPED = 60
RECIPE = CORPUS_RECIPES["plain"]
MOST_WRITTEN = 1.1  # of the bytes of the columns that had to be made


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures of the set that ships, at its size."""
    folder = tmp_path_factory.mktemp("shipped")
    templates = list(shipped_templates().values())[:SHIPPED]
    lines = [json.dumps({"id": t.id, "style": t.style, "tags": t.tags, "svg": t.svg}) for t in templates]
    (folder / "some.jsonl").write_text("\n".join(lines))
    (folder / "assembled.json").write_text(json.dumps({"templates": ["some.jsonl"], "colorings": 1, "size": 192}))
    return folder


@pytest.fixture(scope="module")
def built(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built")
    run_build([str(shipped)], str(out), RECIPE, engine=in_process)
    return out


def sizes(out: Path) -> dict[str, int]:
    return {path.relative_to(out).as_posix(): path.stat().st_size for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("group", "change", "columns"),
    [
        ("regions", {"threshold": 200}, {"region_map"}),
        ("xdog", {"kappa": 1.6}, {"sketch_xdog", "region_map"}),  # regions are found in lines
    ],
)
def test_after_a_changed_operator_little_more_is_written_than_its_column(
    built: Path, shipped: Path, tmp_path: Path, group: str, change: dict[str, float], columns: set[str]
) -> None:
    """Every byte that was not there before counts: the column, the snapshot and its tables."""
    out = shutil.copytree(built, tmp_path / "out")
    before = sizes(out)
    changed = replace(RECIPE, **{group: replace(getattr(RECIPE, group), **change)})
    report = run_build([str(shipped)], str(out), changed, engine=in_process)
    assert set(report.computed) == columns
    new = {path: size for path, size in sizes(out).items() if before.get(path) != size}
    data = {path: size for path, size in new.items() if path.startswith("data/")}
    assert {Path(path).name.partition("-")[0] for path in data} == columns
    assert sum(new.values()) <= MOST_WRITTEN * sum(data.values())


def test_sources_that_moved_are_found_again_by_the_next_snapshot(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 6)
    out = str(tmp_path / "out")
    first = run_build([str(source)], out, SMALL, engine=in_process)
    source.rename(tmp_path / "moved")
    moved = run_build([str(tmp_path / "moved")], out, SMALL, engine=in_process)
    assert (moved.snapshot, moved.is_new, set(moved.computed)) == (2, True, {"row"})
    assert moved.digest == first.digest
    assert not run_build([str(tmp_path / "moved")], out, SMALL, engine=in_process).is_new
    rows = [row for path in row_files(out) for row in read_rows(path.read_bytes(), "row", path.name)]
    assert {str(Path(row["source"]).parent) for row in rows} == {str(tmp_path / "moved")}


def row_files(out: str) -> list[Path]:
    files = open_snapshot(out).table("files").to_pylist()
    return [Path(out, file["path"]) for file in files if file["column"] == "row"]


def test_nothing_is_left_of_a_builds_working_files(shipped: Path, tmp_path: Path) -> None:
    run_build([str(shipped)], str(tmp_path), SMALL, limit=5, engine=in_process)
    assert not list(tmp_path.glob("plan/*"))


def test_nothing_is_left_of_the_working_files_of_a_build_that_fails(shipped: Path, tmp_path: Path) -> None:
    def fails(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        assert list(tmp_path.glob("plan/*/*/*.parquet"))
        raise DataError("the disk is full")

    with pytest.raises(DataError, match="the disk is full"):
        run_build([str(shipped)], str(tmp_path), SMALL, limit=5, engine=fails)
    assert not list(tmp_path.glob("plan/*"))


def test_a_build_that_ends_leaves_what_another_one_knows_of_fatal_calls(shipped: Path, tmp_path: Path) -> None:
    other = BuildJob(out=str(tmp_path), recipe=SMALL, columns=())
    record = Path(other.faults, "train", "shard", "1.json")
    write_whole(str(record), b"{}")
    run_build([str(shipped)], str(tmp_path), SMALL, limit=5, engine=in_process)
    assert record.exists()


def test_buckets_that_cannot_fill_one_batch_are_told(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 9)
    write_pictures(source, 3, first=50, height=64, width=48)
    recipe = replace(SMALL, validation_share=0.0, batch_rows=5, buckets=BucketSettings(("128x96", "96x128", "128x128")))
    report = run_build([str(source)], str(tmp_path / "out"), recipe, engine=in_process)
    assert report.underfilled == {"train": {"96x128": 3}}
    assert "buckets of train with fewer than 5 rows: 96x128 3" in report.summary()
    full = run_build([str(source)], str(tmp_path / "out"), replace(recipe, batch_rows=3), engine=in_process)
    assert (full.underfilled, full.is_new) == ({}, False)
    assert "buckets of" not in full.summary()


def test_other_buckets_change_the_rows_alone(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 6)
    run_build([str(source)], str(tmp_path / "out"), SMALL, engine=in_process)
    other = replace(SMALL, buckets=BucketSettings(("64x64",)))
    assert set(run_build([str(source)], str(tmp_path / "out"), other, engine=in_process).computed) == {"row"}


def test_what_was_not_selected_stands_in_the_snapshot(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 6)
    lines = [json.dumps({"path": f"p{i:04d}.png", "rating": "e" if i < 2 else "g"}) for i in range(6)]
    (source / "index.jsonl").write_text("\n".join(lines))
    recipe = replace(SMALL, select=replace(SMALL.select, ratings=("g",)))
    report = run_build([str(source)], str(tmp_path / "out"), recipe, engine=in_process)
    listed = open_snapshot(str(tmp_path / "out")).document["listed"]
    assert listed == {
        "pictures": 4,
        "not_selected": report.not_selected,
        "not_taken": {},
        "litter": 0,
        "notes": {},
    }
    assert sum(report.not_selected.values()) == 2


# ---- two builds at once, in two processes ----------------------------------------------------------------------------


def run_two(folder: Path, first: Path, second: Path) -> list[tuple[int, str, str]]:
    """(exit status, output, errors) of two builds of one corpus that both wait until the other wants to commit."""
    gate = folder / "gate"
    gate.mkdir()
    builds = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.pipelines.corpus_build.build_process",
                str(source),
                str(folder / "out"),
                "0",
                str(gate),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for source in (first, second)
    ]
    ended = [(*build.communicate(timeout=60), build.returncode) for build in builds]
    return sorted((status, out.strip(), errors) for out, errors, status in ended)


def test_of_two_processes_that_build_one_corpus_one_wins_and_the_other_says_so(tmp_path: Path) -> None:
    sources = [write_pictures(tmp_path / f"source{n}", 8, first=4 * n) for n in range(2)]
    (won, digest, _), (lost, nothing, said) = run_two(tmp_path, *sources)
    assert (won, lost, nothing) == (0, 1, "")
    assert "another build committed snapshot 1 while this one ran" in said
    assert open_snapshot(str(tmp_path / "out")).digest == digest
    assert verify(str(tmp_path / "out")) == []
    report = run_build([str(source) for source in sources], str(tmp_path / "out"), SMALL, engine=in_process)
    assert (report.snapshot, sum(report.rows.values())) == (2, 12)
    assert report.pictures_read == 0


def test_two_processes_that_build_the_same_both_end_well(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 8)
    (one, digest, _), (two, other, _) = run_two(tmp_path, source, source)
    assert (one, two, digest) == (0, 0, other)
    assert [path.name for path in (tmp_path / "out" / "snapshots").glob("*.json")] == ["1.json"]
