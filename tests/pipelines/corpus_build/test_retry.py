"""What failed stays failed, with its reason, until somebody asks for another try; then only that is done again."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dataprep.corpus.column_files import read_rows
from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.pictures.decode import encode_png
from dataprep.pictures.identity import content_id
from pipelines.corpus_build.build import BuildReport, plan_build, run_build
from pipelines.execution.ray_data import Task, Work, in_process
from tests.corpus_pictures import SMALL, picture, write_pictures
from tests.pipelines.corpus_build.unreliable_operators import CALLS, FAILURES, UNRELIABLE

RECIPE = replace(SMALL, extra_operators=UNRELIABLE)
PICTURES = 12


class Bench:
    """A source of twelve pictures, a corpus, and the failures of its operator."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.source, self.out = folder, write_pictures(folder / "source", PICTURES), folder / "out"
        self.ids = [content_id(path.read_bytes()) for path in sorted(self.source.glob("*.png"))]

    def fails(self, **reasons: Sequence[int]) -> None:
        """From now on the operator fails on these pictures, by reason ("_" stands for "-")."""
        failures = {self.ids[n]: reason.replace("_", "-") for reason, numbers in reasons.items() for n in numbers}
        (self.folder / "failures.json").write_text(json.dumps(failures))
        (self.folder / CALLS).write_text("")

    def build(self, *retry: str, out: Path | None = None) -> BuildReport:
        return run_build([str(self.source)], str(out or self.out), RECIPE, engine=in_process, retry=retry)

    def calls(self) -> list[str]:
        return (self.folder / CALLS).read_text().split()

    def files(self) -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in self.out.rglob("*") if path.is_file()}

    def undisturbed(self) -> str:
        """The digest of a corpus in which nothing failed."""
        self.fails()
        return self.build(out=self.folder / "undisturbed").digest

    def cells(self, column: str) -> dict[str, dict[str, object]]:
        files = open_snapshot(str(self.out)).table("files").to_pylist()
        rows = (
            row
            for file in files
            if file["column"] == column
            for row in read_rows((self.out / file["path"]).read_bytes(), column, file["path"])
        )
        return {row["id"]: row for row in rows}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv(FAILURES, str(tmp_path / "failures.json"))
    return Bench(tmp_path)


def test_failed_cells_are_counted_by_reason_and_left_alone_by_the_next_build(bench: Bench) -> None:
    bench.fails(timeout=[1, 5], out_of_memory=[7])
    first = bench.build()
    assert first.failures == {"sketch_unreliable": 3}
    assert first.failure_reasons == {"sketch_unreliable": {"timeout": 2, "out-of-memory": 1}}
    document = open_snapshot(str(bench.out)).document
    assert document["failure_reasons"] == first.failure_reasons
    bench.fails()
    again = bench.build()
    assert (again.is_new, again.computed, bench.calls()) == (False, {}, [])
    assert "--retry-rejects" in again.summary()


def test_a_retry_computes_the_failed_cells_of_that_reason_and_takes_the_others_as_they_are(bench: Bench) -> None:
    expected = bench.undisturbed()
    bench.fails(timeout=[1, 5], out_of_memory=[7])
    bench.build()
    before, cells = bench.files(), bench.cells("sketch_unreliable")
    bench.fails()
    report = bench.build("timeout")
    assert sorted(bench.calls()) == sorted([bench.ids[1], bench.ids[5]])
    assert report.retried_cells == {"sketch_unreliable": {"timeout": 2}}
    assert report.cells == {"sketch_unreliable": 2, "sketch_echo": 2}
    assert report.failure_reasons == {"sketch_unreliable": {"out-of-memory": 1}}
    assert (report.snapshot, report.pictures_read) == (2, 0)
    after = bench.files()
    assert {path: after[path] for path in before if "/rejects/" not in path} == {
        path: time for path, time in before.items() if "/rejects/" not in path
    }
    new = bench.cells("sketch_unreliable")
    assert {i: new[i] for i in new if i not in (bench.ids[1], bench.ids[5])} == {
        i: cells[i] for i in cells if i not in (bench.ids[1], bench.ids[5])
    }
    assert verify(str(bench.out)) == []
    assert bench.build("out-of-memory").digest == expected
    assert not bench.build().is_new
    assert verify(str(bench.out)) == []


def test_what_was_made_from_a_failed_cell_is_made_anew_with_it(bench: Bench) -> None:
    bench.fails(timeout=[3])
    bench.build()
    white = bench.cells("sketch_echo")
    bench.fails()
    bench.build("timeout")
    renewed = bench.cells("sketch_echo")
    assert {row_id for row_id in white if white[row_id] != renewed[row_id]} == {bench.ids[3]}


def test_every_reason_can_be_tried_at_once(bench: Bench) -> None:
    expected = bench.undisturbed()
    bench.fails(timeout=[1, 5], raised=[7])
    bench.build()
    bench.fails()
    report = bench.build("all")
    assert (report.digest, report.failures) == (expected, {})
    assert report.nothing_to_retry == ()


def test_what_fails_again_makes_no_new_snapshot_and_no_new_file(bench: Bench) -> None:
    bench.fails(timeout=[2])
    bench.build()
    before = bench.files()
    bench.fails(timeout=[2])
    report = bench.build("timeout")
    assert bench.calls() == [bench.ids[2]]
    assert (report.is_new, report.failures, report.computed) == (False, {"sketch_unreliable": 1}, {})
    assert bench.files().keys() == before.keys()
    bench.fails()
    assert bench.build("timeout").failures == {}


def test_a_reason_that_nothing_failed_for_is_said(bench: Bench) -> None:
    bench.fails(timeout=[2])
    bench.build()
    report = bench.build("crashed", "timeout")
    assert report.nothing_to_retry == ("crashed",)
    assert "nothing to try again for crashed" in report.summary()


def test_a_retry_that_is_killed_before_its_commit_is_done_again(bench: Bench) -> None:
    expected = bench.undisturbed()
    bench.fails(timeout=[1, 5, 9])
    bench.build()
    bench.fails()

    class Killed(Exception):
        pass

    def dies(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        for task in tasks:
            yield work(task)
            raise Killed

    with pytest.raises(Killed):
        run_build([str(bench.source)], str(bench.out), RECIPE, engine=dies, retry=["timeout"])
    assert not bench.build().is_new
    assert bench.build("timeout").digest == expected
    assert verify(str(bench.out)) == []


def test_half_of_a_shards_retry_is_no_retry(bench: Bench) -> None:
    """Killed between the writing of a column and of the one made from it."""
    expected = bench.undisturbed()
    bench.fails(timeout=[1, 5, 9])
    bench.build()
    bench.fails()
    bench.build("timeout")
    (bench.out / "snapshots" / "2.json").unlink()
    for path in bench.out.glob("data/*/*/sketch_echo-*-r*.parquet"):
        path.unlink()
    assert bench.build("timeout").digest == expected


def test_a_build_that_comes_second_leaves_the_files_of_a_committed_one_as_they_are(bench: Bench) -> None:
    """Both plan an empty corpus; cells failed in the first to commit only, so the bytes of their files differ."""
    calls = 0

    def overtaken(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        nonlocal calls
        calls += 1
        if calls == 2:  # its plan is made, its columns are not
            bench.fails(timeout=[1, 5])
            bench.build()
            bench.fails()
        return map(work, tasks)

    run_build([str(bench.source)], str(bench.out), RECIPE, engine=overtaken)
    assert verify(str(bench.out)) == []
    assert open_snapshot(str(bench.out), 1).document["failure_reasons"]["sketch_unreliable"] == {"timeout": 2}


def test_a_dry_run_counts_the_cells_that_a_retry_would_compute(bench: Bench) -> None:
    bench.fails(timeout=[1, 5], raised=[7])
    bench.build()
    planned = plan_build([str(bench.source)], str(bench.out), RECIPE, retry=["timeout"])
    unreliable, echo = planned.columns["sketch_unreliable"], planned.columns["sketch_echo"]
    assert (unreliable.compute, unreliable.why) == (2, {"failed before: timeout": 2})
    assert (unreliable.carry_over, echo.carry_over) == (PICTURES - 2, PICTURES - 2)
    assert echo.why == {"input column sketch_unreliable is tried again, at most": 2}
    assert planned.columns["color"].compute == 0
    bench.fails()
    assert bench.build("timeout").cells == {"sketch_unreliable": 2, "sketch_echo": 2}


# ---- pictures that the scan refused ---------------------------------------------------------------------------------


def heal(path: Path) -> None:
    """The picture as it should have been, so that neither size nor time tell of the change."""
    known = path.stat()
    path.write_bytes(encode_png(picture(77)).ljust(known.st_size, b"\0"))
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert path.stat().st_size == known.st_size


def test_a_refused_picture_is_read_again_when_asked_for_and_its_new_record_holds(tmp_path: Path) -> None:
    source, out = write_pictures(tmp_path / "source", 5), str(tmp_path / "out")
    broken = source / "broken.png"
    broken.write_bytes(encode_png(picture(77))[:300].ljust(20_000, b"\0"))
    assert run_build([str(source)], out, SMALL, engine=in_process).rejects == {"unreadable": 1}
    heal(broken)
    assert not run_build([str(source)], out, SMALL, engine=in_process).is_new
    planned = plan_build([str(source)], out, SMALL, retry=["unreadable"])
    assert (planned.to_read, planned.unread) == ({"unreadable": 1}, 1)
    report = run_build([str(source)], out, SMALL, engine=in_process, retry=["unreadable"])
    assert (report.read_because, report.rejects, sum(report.rows.values())) == ({"unreadable": 1}, {}, 6)
    again = run_build([str(source)], out, SMALL, engine=in_process)
    assert (again.is_new, again.pictures_read) == (False, 0)


def test_a_picture_that_is_refused_again_stays_a_reject(tmp_path: Path) -> None:
    source, out = write_pictures(tmp_path / "source", 5), str(tmp_path / "out")
    (source / "broken.png").write_bytes(encode_png(picture(77))[:300])
    run_build([str(source)], out, SMALL, engine=in_process)
    for _ in range(2):
        report = run_build([str(source)], out, SMALL, engine=in_process, retry=["all"])
        assert (report.is_new, report.pictures_read, report.rejects) == (False, 1, {"unreadable": 1})
