"""Stores that go away, fill up or damage what they hold: a build waits, or stops with a clear word and can go on."""

import json
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.errors import DataError
from dataprep.storage import s3
from dataprep.storage import store as storage
from pipelines.corpus_build.build import BuildReport, run_build
from pipelines.execution.ray_data import Task, Work, in_process
from tests.corpus_pictures import SMALL, write_pictures
from tests.faults import Survived
from tests.pipelines.corpus_build.rows_compared import row_ids, rows_compared
from tests.pipelines.s3_server import BUCKET, S3Server, s3_environment

PICTURES = 24
Check = Callable[[str, BuildReport], None]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("source"), PICTURES, height=96, width=128)


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildReport:
    return run_build([str(source)], str(tmp_path_factory.mktemp("out")), SMALL, engine=in_process)


@pytest.fixture
def check(undisturbed: BuildReport, survived: Survived) -> Check:
    """Counts what a disturbance of this kind cost the build, and holds that it cost nothing."""

    def count(kind: str, report: BuildReport) -> None:
        """The corpus is the undisturbed one: each picture once, every byte as written."""
        survived(kind, work="corpus build", **rows_compared(report.out, undisturbed.out))
        assert report.digest == undisturbed.digest
        assert verify(report.out) == []
        ids = row_ids(report.out)
        assert len(ids) == len(set(ids)) == PICTURES

    return count


# ---- S3 -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server of this test's own, that it may kill."""
    for name, value in s3_environment().items():
        monkeypatch.setenv(name, value)
    server = S3Server(tmp_path / "s3")
    server.start()
    server.wait()
    yield server
    server.stop()


@pytest.mark.drill
@pytest.mark.s3
def test_a_build_waits_for_an_s3_server_that_is_killed_and_started_again(
    server: S3Server, source: Path, check: Check, drill_random: np.random.Generator
) -> None:
    done, last = 0, int(drill_random.integers(2, 5))  # the first task is the scan, each of the others a shard

    def interrupted(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        nonlocal done
        for task in tasks:
            done += 1
            if done == last:
                server.kill()
                threading.Timer(1.0, server.start).start()
            yield work(task)

    out = f"s3://{BUCKET}/corpus"
    report = run_build([str(source)], out, SMALL, engine=interrupted)
    check("S3 server killed and started again", report)


@pytest.mark.drill
@pytest.mark.s3
def test_every_kind_of_request_waits_for_a_server_that_answered_before(server: S3Server, survived: Survived) -> None:
    uri = f"s3://{BUCKET}/waited"
    storage.check_reachable(uri)
    storage.write_whole(uri, b"before")

    def through_arrow() -> bytes:
        filesystem, path = storage.arrow_filesystem(uri)
        with filesystem.open_input_file(path) as file:
            return bytes(file.read())

    requests: tuple[Callable[[], object], ...] = (
        lambda: storage.write_whole(uri, b"after"),
        lambda: [file.uri for file in storage.list_files(f"s3://{BUCKET}/")],
        lambda: storage.patiently(uri, through_arrow),
        lambda: storage.read_bytes(uri),
    )
    undisturbed = [request() for request in requests]
    storage.write_whole(uri, b"before")
    answers = []
    for request in requests:
        server.kill()
        back = threading.Timer(4.0, server.start)
        back.start()
        answers.append(request())
        back.join()
    lost = sum(answer != whole for answer, whole in zip(answers, undisturbed, strict=True))
    survived("S3 server killed and started again", work="S3 requests", tries=len(requests), lost=lost, doubled=0)
    assert answers == undisturbed
    assert answers[-1] == b"after"


@pytest.mark.slow
@pytest.mark.drill
@pytest.mark.s3
def test_an_s3_server_that_is_killed_again_and_again_only_costs_time(
    server: S3Server, source: Path, check: Check
) -> None:
    over = threading.Event()

    def keep_killing() -> None:
        while not over.wait(6):
            server.kill()
            server.start()

    killer = threading.Thread(target=keep_killing)
    killer.start()

    def slow(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        for task in tasks:
            time.sleep(2)
            yield work(task)

    try:
        report = run_build([str(source)], f"s3://{BUCKET}/corpus", SMALL, engine=slow)
    finally:
        over.set()
        killer.join()
    server.wait()
    check("S3 server killed again and again", report)


@pytest.mark.s3
def test_a_server_that_never_answered_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_environment().items():
        monkeypatch.setenv(name, value)
    started = time.monotonic()
    with pytest.raises(DataError, match="does not answer"):
        storage.read_bytes(f"s3://{BUCKET}/x")
    assert time.monotonic() - started < 30


@pytest.mark.s3
def test_the_first_writer_wins_even_where_its_answer_was_lost(s3_prefix: str, survived: Survived) -> None:
    """A request that is repeated finds its own first try there; somebody else's it does not take for its own."""
    client = s3.client()
    uri = f"{s3_prefix}/one"
    lost = iter([True])

    def lose_the_answer(**_: object) -> float | None:
        return 0.0 if next(lost, False) else None

    client.meta.events.register("needs-retry.s3.PutObject", lose_the_answer)
    try:
        mine = storage.create_exclusive(uri, b"mine")
        lost = iter([True])
        other = storage.create_exclusive(uri, b"other")
        survived("answer lost on its way", work="S3 requests", tries=2, lost=int(not mine), doubled=int(other))
        assert mine
        assert not other
        assert not storage.create_exclusive(uri, b"mine")  # not repeated: this time it is a second writer
    finally:
        client.meta.events.unregister("needs-retry.s3.PutObject", lose_the_answer)
    assert storage.read_bytes(uri) == b"mine"


# ---- disks ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_stops_the_build_with_its_name_and_a_larger_one_lets_it_go_on(
    small_disk: Path, source: Path, check: Check
) -> None:
    out = small_disk / "corpus"
    with pytest.raises(DataError, match="No space left on device") as caught:
        run_build([str(source)], str(out), SMALL, engine=in_process)
    assert str(out) in str(caught.value)
    assert not list(out.glob("snapshots/*.json"))
    assert not list(out.rglob("*.partial"))
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    report = run_build([str(source)], str(out), SMALL, engine=in_process)
    assert report.shard_columns_reused > 0
    check("disk full", report)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_breaks_off_leaves_no_part_of_a_file(source: Path, check: Check, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def hindered(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        for number, task in enumerate(tasks):
            with largest_file(8_000 if number else 1 << 40):
                yield work(task)

    with pytest.raises(DataError, match="File too large"):
        run_build([str(source)], str(out), SMALL, engine=hindered)
    whole = {path.name for path in out.rglob("*.parquet")}
    assert whole
    assert not list(out.rglob("*.partial"))
    report = run_build([str(source)], str(out), SMALL, engine=in_process)
    assert report.shard_columns_reused > 0
    check("write broken off", report)


# ---- damage ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(source: Path, tmp_path: Path) -> Path:
    run_build([str(source)], str(tmp_path / "corpus"), SMALL, engine=in_process)
    return tmp_path / "corpus"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_truncated_column_file_is_named_and_the_next_build_makes_it_again(
    corpus: Path, source: Path, check: Check
) -> None:
    cut = sorted(corpus.glob("data/*/*/color-*"))[1]
    cut.write_bytes(cut.read_bytes()[:-100])
    (damage,) = verify(str(corpus))
    assert str(cut.relative_to(corpus)) in damage
    assert "bytes" in damage
    report = run_build([str(source)], str(corpus), SMALL, engine=in_process)
    assert (report.is_new, dict(report.computed)) == (False, {"color": 1})
    check("files of a snapshot gone or cut", report)


def test_a_file_swapped_for_another_of_the_same_size_is_named_and_never_built_upon(
    corpus: Path, source: Path, check: Check
) -> None:
    swapped = sorted(corpus.glob("data/*/*/sketch_xdog-*"))[0]
    flip(swapped)
    (damage,) = verify(str(corpus))
    assert damage.startswith(str(swapped.relative_to(corpus)))
    assert "the content has changed" in damage
    other_regions = replace(SMALL, regions=replace(SMALL.regions, threshold=99))
    with pytest.raises(DataError, match=r"sketch_xdog-.* not what was written\. Delete this file and run the build"):
        run_build([str(source)], str(corpus), other_regions, engine=in_process)
    swapped.unlink()
    check("file of a snapshot swapped", run_build([str(source)], str(corpus), SMALL, engine=in_process))
    assert verify(str(corpus)) == []


def test_the_same_shard_of_another_corpus_is_not_taken_for_this_one(corpus: Path, source: Path, check: Check) -> None:
    """A file of an unfinished build that holds other rows, whatever its size, is made again."""
    shutil.rmtree(corpus / "snapshots")
    first, second = sorted(corpus.glob("data/train/*/color-*"))[:2]
    first.write_bytes(second.read_bytes())
    report = run_build([str(source)], str(corpus), SMALL, engine=in_process)
    assert dict(report.computed) == {"color": 1}
    check("leftovers damaged", report)


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.99], ids=["nothing", "one byte", "half", "nearly all"])
def test_a_snapshot_cut_short_is_named_with_what_to_do_and_the_one_before_still_opens(
    corpus: Path, source: Path, check: Check, undisturbed: BuildReport, keep: float
) -> None:
    (source_two := corpus.parent / "more").mkdir()
    write_pictures(source_two, 4, first=900, height=96, width=128)
    run_build([str(source), str(source_two)], str(corpus), SMALL, engine=in_process)
    document = corpus / "snapshots" / "2.json"
    whole = document.read_bytes()
    document.write_bytes(whole[: int(keep) if keep >= 1 else int(len(whole) * keep)])
    for act in (open_snapshot, verify, lambda out: run_build([str(source)], out, SMALL, engine=in_process)):
        with pytest.raises(DataError, match=r"2\.json: damaged .* Deleting it brings back the snapshot before"):
            act(str(corpus))
    assert open_snapshot(str(corpus), 1).digest == undisturbed.digest
    document.unlink()
    check("snapshot document cut short", run_build([str(source)], str(corpus), SMALL, engine=in_process))


@pytest.mark.parametrize("table", ["files", "index", "rejects"])
def test_a_table_of_a_snapshot_cut_short_is_named(corpus: Path, table: str) -> None:
    path = json.loads((corpus / "snapshots" / "1.json").read_bytes())["tables"][table]["path"]
    (corpus / path).write_bytes((corpus / path).read_bytes()[:-10])
    damages = verify(str(corpus))
    assert any(line.startswith(path) for line in damages), damages
    with pytest.raises(DataError, match=path):
        open_snapshot(str(corpus)).table(table)
