"""Garbage collection takes what no kept snapshot names and nothing else, and a crash in the middle harms nobody."""

import os
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataprep.corpus.snapshot import open_snapshot, snapshot_numbers
from dataprep.corpus_tools.garbage import UNFINISHED, Garbage, find_garbage
from dataprep.corpus_tools.info import verify
from dataprep.errors import DataError
from dataprep.storage import store as storage
from pipelines.corpus_build.build import run_build
from pipelines.evaluation.real_statistics import address
from pipelines.execution.ray_data import in_process
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import SMALL, write_pictures

DAY_S = 24 * 3600
OTHER = replace(SMALL, seed=1)
COARSE = replace(SMALL, shard_rows=7)


def build(source: Path, out: Path | str, recipe: BuildRecipe = SMALL) -> None:
    run_build([str(source)], str(out), recipe, engine=in_process)


def collect(out: Path | str, **options: Any) -> Garbage:
    found = find_garbage(str(out), grace_hours=0, now_s=time.time() + 1, **options)
    found.remove()
    return found


def sound(out: Path | str) -> bool:
    return not any(verify(str(out), number) for number in snapshot_numbers(str(out)))


def files(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def two_snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures; then another seed of the line art, so that some files serve both snapshots."""
    folder = tmp_path_factory.mktemp("gc")
    source = write_pictures(folder / "source", 6)
    build(source, folder / "out")
    build(source, folder / "out", OTHER)
    shutil.rmtree(folder / "out" / "plan", ignore_errors=True)
    return folder / "out"


@pytest.fixture
def corpus(two_snapshots: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_snapshots, tmp_path / "copy"))


def test_statistics_of_real_pictures_go_with_their_snapshot(corpus: Path) -> None:
    before, after = (open_snapshot(str(corpus), number).digest for number in (1, 2))
    names = [address(str(corpus), digest, "what").removeprefix(f"{corpus}/") for digest in (before, after)]
    stranger = "statistics/notes.txt"
    for name in (*names, stranger):
        (corpus / name).parent.mkdir(exist_ok=True)
        (corpus / name).write_bytes(b"sums")
    collect(corpus)
    assert {*names, stranger} <= files(corpus)
    collect(corpus, keep=1)
    assert names[0] not in files(corpus)
    assert {names[1], stranger} <= files(corpus)
    assert sound(corpus)


def test_a_corpus_of_which_everything_is_named_is_left_alone(corpus: Path) -> None:
    before = files(corpus)
    assert not any(collect(corpus).removable.values())
    assert files(corpus) == before


def test_a_dry_run_counts_and_removes_nothing(corpus: Path) -> None:
    before = files(corpus)
    found = find_garbage(str(corpus), keep=1, grace_hours=0, now_s=time.time() + 1)
    document = found.document()
    assert (document["kept_snapshots"], document["dropped_snapshots"]) == ([2], [1])
    assert document["remove"]["snapshots"]["files"] == 1
    shards = {path.rpartition("/")[0] for path in before if path.startswith("data/")}
    assert document["remove"]["data files"]["files"] == 2 * len(shards)  # line art, and the regions made of it
    assert files(corpus) == before
    assert "would remove" in found.summary(removed=False)


def test_only_what_a_kept_snapshot_names_remains_of_older_ones(corpus: Path) -> None:
    before = files(corpus)
    collect(corpus, keep=1)
    assert snapshot_numbers(str(corpus)) == [2]
    assert verify(str(corpus), 2) == []
    gone = before - files(corpus)
    assert {path.split("/")[0] for path in gone} == {"snapshots", "data"}
    assert all("xdog" in path or "region_map" in path for path in gone if path.startswith("data/"))


def test_unfinished_work_goes_once_it_is_old_and_foreign_files_never(corpus: Path) -> None:
    strays = {
        "data/train/abc/mask-0123.parquet": "data files",
        "snapshots/3-files-0123456789ab.parquet": "snapshot tables",
        "rejects/0123456789ab.parquet": "rejects tables",
        "plan/0123/0.parquet": "plan files",
        f"data/train/.x.parquet.{'0123' * 8}.partial": UNFINISHED,
    }
    for path in (*strays, "film.mp4.partial", "notes.txt", "data/README", "snapshots/readme.json"):
        (corpus / path).parent.mkdir(parents=True, exist_ok=True)
        (corpus / path).write_bytes(b"left")
    assert not any(find_garbage(str(corpus)).removable.values())
    young = find_garbage(str(corpus)).young
    assert {kind: len(entries) for kind, entries in young.items()} == dict.fromkeys(strays.values(), 1)
    removed = find_garbage(str(corpus), now_s=time.time() + DAY_S + 1)
    assert {kind: len(entries) for kind, entries in removed.removable.items()} == dict.fromkeys(strays.values(), 1)
    removed.remove()
    assert not files(corpus) & strays.keys()
    assert files(corpus) >= {"film.mp4.partial", "notes.txt", "data/README", "snapshots/readme.json"}
    assert sound(corpus)


def test_old_leftovers_stay_while_something_new_says_that_a_build_may_be_using_them(corpus: Path) -> None:
    old, new = corpus / "data/train/abc/mask-01.parquet", corpus / "data/train/abc/color-01.parquet"
    old.parent.mkdir(parents=True, exist_ok=True)
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    found = find_garbage(str(corpus))
    assert not any(found.removable.values())
    assert {Path(entry.uri).name for entry in found.young["data files"]} == {old.name, new.name}
    assert "--older-than" in found.summary(removed=True)


def test_a_long_scan_says_that_a_build_is_using_the_tables_from_its_start(corpus: Path) -> None:
    for path in corpus.glob("scan/*/*.parquet"):
        os.utime(path, (0, 0))
    start, part = corpus / "plan/0123/scan/0.parquet", corpus / "scan/0123/0.parquet"
    for path in (start, part):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    os.utime(start, (0, 0))
    for with_scan in (False, True):
        found = find_garbage(str(corpus), with_scan=with_scan)
        assert not any(found.removable.values())
        assert [entry.uri for entry in found.young["plan files"]] == [str(start)]
    os.utime(part, (0, 0))
    assert [entry.uri for entry in find_garbage(str(corpus)).removable["plan files"]] == [str(start)]


def test_scan_caches_stay_unless_they_are_asked_for(corpus: Path) -> None:
    assert collect(corpus).scan_caches.files > 0
    assert list(corpus.glob("scan/*/*.parquet"))
    collect(corpus, with_scan=True)
    assert not list(corpus.glob("scan/*/*.parquet"))
    assert sound(corpus)


def test_the_newest_snapshot_cannot_be_dropped(corpus: Path) -> None:
    with pytest.raises(ValueError, match="the newest snapshot always stays"):
        find_garbage(str(corpus), keep=0)
    assert find_garbage(str(corpus), keep=99).kept == (1, 2)


@pytest.mark.parametrize("victim", ["snapshots/1.json", "snapshots/1-files-*"])
def test_a_damaged_snapshot_stops_it_since_nobody_knows_what_it_names(corpus: Path, victim: str) -> None:
    (path,) = corpus.glob(victim)
    path.write_bytes(path.read_bytes()[:-20])
    before = files(corpus)
    with pytest.raises(DataError, match=path.name):
        find_garbage(str(corpus), grace_hours=0)
    assert files(corpus) == before


def test_a_folder_that_is_no_corpus_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match="there is no corpus here"):
        find_garbage(str(tmp_path))


def test_a_relative_address_is_understood(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus.parent)
    for uri in ("copy", "./copy/"):
        assert not any(find_garbage(uri, grace_hours=0).removable.values())


@pytest.mark.parametrize("seed", range(4))
def test_after_any_builds_and_collections_every_snapshot_that_is_left_is_sound(tmp_path: Path, seed: int) -> None:
    """Half of the collections die half-way, after the deletion of a random number of files in their order."""
    draw = random.Random(seed)
    source, out = write_pictures(tmp_path / "source", 6), tmp_path / "out"
    build(source, out)
    for step in range(4):
        if draw.random() < 0.5:
            write_pictures(source, 2, first=10 * (step + 1))
        else:
            next(iter(sorted(source.glob("*.png")))).unlink()
        build(source, out, draw.choice([SMALL, OTHER, COARSE]))
        found = find_garbage(str(out), keep=draw.choice([None, 1, 2]), grace_hours=0, now_s=time.time() + 1)
        doomed = [entry.uri for entries in found.removable.values() for entry in entries]
        storage.delete_files(doomed[: draw.randint(0, len(doomed))] if draw.random() < 0.5 else doomed)
        assert sound(out)
    newest = snapshot_numbers(str(out))[-1]
    collect(out, keep=1)
    assert snapshot_numbers(str(out)) == [newest]
    assert sound(out)
    assert not any(collect(out, keep=1).removable.values())


@pytest.mark.s3
def test_it_works_on_s3(corpus: Path, s3_prefix: str) -> None:
    storage.upload_directory(corpus, s3_prefix)
    local, remote = collect(corpus, keep=1), collect(s3_prefix, keep=1)
    assert local.document()["remove"] == remote.document()["remove"]
    assert {entry.uri.removeprefix(s3_prefix) for entry in storage.list_files(s3_prefix)} == {
        f"/{path}" for path in files(corpus)
    }
    assert sound(s3_prefix)
