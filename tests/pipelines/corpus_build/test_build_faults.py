"""What a build survives: a kill at any moment, damaged leftovers, a source that changes, a store that goes away."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.errors import DataError
from dataprep.pictures.decode import encode_png
from pipelines.corpus_build.build import BuildReport, run_build
from pipelines.execution.ray_data import Engine, Task, Work, in_process
from tests.corpus_pictures import SMALL, picture, write_pictures
from tests.faults import Survived
from tests.pipelines.corpus_build.rows_compared import row_ids, rows_compared


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("source"), 60, height=160, width=200)


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildReport:
    return run_build([str(source)], str(tmp_path_factory.mktemp("out")), SMALL, engine=in_process)


@pytest.mark.drill
@pytest.mark.ray
def test_a_killed_driver_costs_only_unfinished_work(
    ray_engine: None,
    source: Path,
    undisturbed: BuildReport,
    tmp_path: Path,
    drill_random: np.random.Generator,
    survived: Survived,
) -> None:
    out = tmp_path / "out"
    _kill_half_way(source, out, shards=int(drill_random.integers(2, 6)))
    assert not list(out.glob("snapshots/*.json"))
    report = run_build([str(source)], str(out), SMALL)
    survived("driver killed", work="corpus build", **rows_compared(out, undisturbed.out))
    assert report.digest == undisturbed.digest
    assert 0 < report.shard_columns_reused < report.shard_columns
    assert report.pictures_read == 0
    assert f"reused {report.shard_columns_reused} of {report.shard_columns} shard columns" in report.summary()
    assert verify(str(out)) == []
    ids = row_ids(out)
    assert len(ids) == len(set(ids)) == 60


def _kill_half_way(source: Path, out: Path, shards: int) -> None:
    """SIGKILL the driver once so many shards have their last column, and wait until its workers are gone too."""
    command = [sys.executable, "-m", "tests.pipelines.corpus_build.build_process", str(source), str(out), "2"]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 90
    while len(list(out.glob("data/*/*/region_map-*.parquet"))) < shards:
        assert driver.poll() is None, "the build ended before it could be killed"
        assert time.monotonic() < deadline, "the build made nothing"
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()


class Killed(Exception):
    """Stands for the end of the process at this point."""


@pytest.mark.parametrize("survives", [0, 1, 7])
def test_wherever_it_stops_the_next_build_ends_the_same(
    source: Path, undisturbed: BuildReport, tmp_path: Path, survives: int, survived: Survived
) -> None:
    done = 0

    def dies(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        nonlocal done
        for task in tasks:
            if done == survives:
                raise Killed
            done += 1
            yield work(task)

    with pytest.raises(Killed):
        run_build([str(source)], str(tmp_path), SMALL, engine=dies)
    report = run_build([str(source)], str(tmp_path), SMALL, engine=in_process)
    survived("stopped between two tasks", work="corpus build", **rows_compared(tmp_path, undisturbed.out))
    assert report.digest == undisturbed.digest


def test_damaged_leftovers_of_a_killed_build_are_made_again(
    source: Path, undisturbed: BuildReport, tmp_path: Path, survived: Survived
) -> None:
    run_build([str(source)], str(tmp_path), SMALL, engine=in_process)
    shutil.rmtree(tmp_path / "snapshots")
    cut, other = sorted(tmp_path.glob("data/train/*/color-*"))[:2]
    cut.write_bytes(cut.read_bytes()[:100])
    masks = sorted(tmp_path.glob("data/train/*/mask-*"))
    masks[0].write_bytes(masks[1].read_bytes())  # whole, but of another shard
    (tmp_path / "scan").joinpath("rubbish.parquet").write_bytes(b"rubbish")
    for part in (tmp_path / "scan").rglob("*.parquet"):
        part.write_bytes(part.read_bytes()[:-5])
    report = run_build([str(source)], str(tmp_path), SMALL, engine=in_process)
    survived("leftovers damaged", work="corpus build", **rows_compared(tmp_path, undisturbed.out))
    assert report.digest == undisturbed.digest
    assert report.computed == {"color": 1, "mask": 1}
    assert verify(str(tmp_path)) == []
    assert other.exists()


def test_a_leftover_with_a_flipped_byte_is_made_again(
    source: Path, undisturbed: BuildReport, tmp_path: Path, survived: Survived
) -> None:
    run_build([str(source)], str(tmp_path), SMALL, engine=in_process)
    shutil.rmtree(tmp_path / "snapshots")
    victim = min(tmp_path.glob("data/train/*/color-*"))
    data = bytearray(victim.read_bytes())
    values = next(
        c for i in range(3) if (c := pq.ParquetFile(victim).metadata.row_group(0).column(i)).path_in_schema == "color"
    )
    data[values.data_page_offset + values.total_compressed_size // 2] ^= 1  # in the middle of a picture
    victim.write_bytes(data)
    report = run_build([str(source)], str(tmp_path), SMALL, engine=in_process)
    survived("leftovers damaged", work="corpus build", **rows_compared(tmp_path, undisturbed.out))
    assert (report.digest, report.computed) == (undisturbed.digest, {"color": 1})


def test_a_scan_part_that_the_disk_does_not_give_is_not_taken_for_damaged(source: Path, tmp_path: Path) -> None:
    run_build([str(source)], str(tmp_path), SMALL, engine=in_process)
    part = next((tmp_path / "scan").rglob("*.parquet"))
    part.unlink()
    part.symlink_to("/proc/self/mem")  # it is there, and reading it is an I/O error
    with pytest.raises(DataError, match="Input/output error"):
        run_build([str(source)], str(tmp_path), SMALL, engine=in_process)


def test_files_that_a_snapshot_lost_are_made_again(
    source: Path, undisturbed: BuildReport, tmp_path: Path, survived: Survived
) -> None:
    run_build([str(source)], str(tmp_path), SMALL, engine=in_process)
    lost, cut = sorted(tmp_path.glob("data/*/*/sketch_xdog-*"))[:2]
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    assert len(verify(str(tmp_path))) == 2
    report = run_build([str(source)], str(tmp_path), SMALL, engine=in_process)
    survived("files of a snapshot gone or cut", work="corpus build", **rows_compared(tmp_path, undisturbed.out))
    assert (report.digest, report.is_new, report.computed) == (undisturbed.digest, False, {"sketch_xdog": 2})
    assert verify(str(tmp_path)) == []


def test_a_lost_file_that_is_made_again_with_other_bytes_is_committed(source: Path, tmp_path: Path) -> None:
    """The same cells in other row groups: another version of the writer."""
    first = run_build([str(source)], str(tmp_path), SMALL, engine=in_process)
    lost = min(tmp_path.glob("data/*/*/sketch_xdog-*"))
    lost.unlink()

    def rewriting(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        for task in tasks:
            work(task)
            pq.write_table(pq.read_table(lost), lost, compression="none", store_schema=False)
            yield work(task | {"found": ["sketch_xdog"]})

    report = run_build([str(source)], str(tmp_path), SMALL, engine=rewriting)
    assert (report.digest, report.snapshot, report.is_new) == (first.digest, 2, True)
    assert verify(str(tmp_path)) == []


def test_a_source_file_that_changes_in_mid_build_stops_it_with_its_name(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "source")
    victim = tmp_path / "source" / "p0005.png"
    calls = 0

    def meddling(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        nonlocal calls
        calls += 1
        if calls == 2:  # the scan is over
            shutil.copy(source / "p0006.png", victim)
        return map(work, tasks)

    with pytest.raises(DataError, match=r"p0005\.png: the file changed while the corpus was built"):
        run_build([str(tmp_path / "source")], str(tmp_path / "out"), SMALL, engine=meddling)
    report = run_build([str(tmp_path / "source")], str(tmp_path / "out"), SMALL, engine=in_process)
    assert (sum(report.rows.values()), dict(report.rejects)) == (59, {"duplicate-file": 1})


@pytest.mark.parametrize("changed", ["sketch", "mask"])
def test_what_comes_with_a_picture_and_changes_in_mid_build_stops_it(tmp_path: Path, changed: str) -> None:
    folder = write_pictures(tmp_path / "source", 4)
    for name in ("sketch", "mask"):
        (folder / f"{name}.png").write_bytes(encode_png(picture(50)[..., 0]))
    (folder / "index.jsonl").write_text('{"path": "p0002.png", "sketch": "sketch.png", "mask": "mask.png"}')
    calls = 0

    def meddling(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        nonlocal calls
        calls += 1
        if calls == 2:
            (folder / f"{changed}.png").write_bytes(encode_png(picture(51)[..., 0]))
        return map(work, tasks)

    with pytest.raises(DataError, match=r"p0002\.png: its sketch or mask changed while the corpus was built"):
        run_build([str(folder)], str(tmp_path / "out"), SMALL, engine=meddling)
    assert run_build([str(folder)], str(tmp_path / "out"), SMALL, engine=in_process).is_new


def test_a_source_file_that_cannot_be_read_is_a_reject_and_is_tried_again(
    source: Path, undisturbed: BuildReport, tmp_path: Path, survived: Survived
) -> None:
    shutil.copytree(source, tmp_path / "source")
    victim, away, out = tmp_path / "source" / "p0005.png", tmp_path / "away.png", str(tmp_path / "out")

    def without_victim(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        victim.rename(away)
        yield from [work(task) for task in tasks]
        away.rename(victim)  # as it was, to the nanosecond

    report = run_build([str(victim.parent)], out, SMALL, engine=_once(without_victim))
    assert (report.rejects, sum(report.rows.values())) == ({"not-read": 1}, 59)
    report = run_build([str(victim.parent)], out, SMALL, engine=in_process)
    survived("source file away for a while", work="corpus build", **rows_compared(out, undisturbed.out))
    assert (report.rejects, report.pictures_read, sum(report.rows.values())) == ({}, 1, 60)


def _once(first: Engine) -> Engine:
    """`first` for the first phase, then undisturbed work."""
    engines = iter([first])
    return lambda work, tasks: next(engines, in_process)(work, tasks)


def test_two_builds_at_once_one_wins_and_the_other_says_so(
    source: Path, undisturbed: BuildReport, tmp_path: Path, survived: Survived
) -> None:
    """The second build commits while the first one is still at work."""
    shutil.copytree(source, tmp_path / "less")
    (tmp_path / "less" / "p0007.png").unlink()
    out, calls = str(tmp_path / "out"), 0

    def overtaken(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        nonlocal calls
        calls += 1
        if calls == 2:
            run_build([str(tmp_path / "less")], out, SMALL, engine=in_process)
        return map(work, tasks)

    with pytest.raises(DataError, match="another build committed snapshot 1"):
        run_build([str(source)], out, SMALL, engine=overtaken)
    assert len(open_snapshot(out).table("index")) == 59
    assert verify(out) == []
    assert run_build([str(source)], out, SMALL, engine=in_process).snapshot == 2
    survived("two builds of one corpus", work="corpus build", **rows_compared(out, undisturbed.out))


@pytest.mark.s3
def test_a_store_that_is_out_of_reach_is_said_before_work_starts(
    source: Path, s3_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(DataError, match="does not answer"):
        run_build([str(source)], s3_prefix, SMALL, engine=in_process)
