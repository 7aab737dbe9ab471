"""A local engine that is killed under work is started again, and the work ends as if nothing had happened."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dataprep.corpus_tools.info import open_snapshot, verify
from pipelines.corpus_build.build import run_build
from pipelines.evaluation.features import read_results
from pipelines.execution.ray_data import in_process
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.training.stage import read_history
from pipelines.training.state.store import StateStore
from tests.corpus_pictures import write_pictures
from tests.faults import Survived
from tests.pipelines.execution.autoscaling_cluster import free_port
from tests.pipelines.training.train_helpers import (
    Bench,
    alive,
    checkpointed,
    found_at,
    images_compared,
    processes_named,
    wait_for,
)
from tests.pipelines.training.untrained import write_corpus

pytestmark = [pytest.mark.drill, pytest.mark.ray]
ROOT = Path(__file__).parents[3]
TIMEOUT_S = 400
PICTURES = 64
PARTS = ("raylet", "gcs_server")


def test_training_goes_on_after_its_raylet_and_then_its_head_were_killed(
    bench: Bench, undisturbed: Path, tmp_path: Path, survived: Survived
) -> None:
    out = tmp_path / "out"
    with _command(*bench.arguments(out), cwd=tmp_path) as command:
        _kill(command.pid, "raylet", when=lambda: checkpointed(out))
        seen = _images_seen(out)
        _kill(command.pid, "gcs_server", when=lambda: _images_seen(out) > seen)
        said = _ended(command)
    for number, part in enumerate(PARTS, start=1):
        assert f"its {part} ended); it is started again, and the work goes on (restart {number} of 3)" in said
    assert read_history(str(out)) == read_history(str(undisturbed))
    survived("local engine killed", work="training", tries=2, **images_compared(out, undisturbed))


@pytest.mark.parametrize("part", [PARTS[0], *(pytest.param(part, marks=pytest.mark.slow) for part in PARTS[1:])])
def test_a_build_goes_on_after_a_part_of_its_engine_was_killed(part: str, tmp_path: Path, survived: Survived) -> None:
    source, out = write_pictures(tmp_path / "source", PICTURES, height=600, width=800), tmp_path / "out"
    with _command(*_build(source, out, "--workers", "1"), cwd=tmp_path) as command:
        _kill(command.pid, part, when=lambda: any(out.glob("data/*/*/*.parquet")))
        said = _ended(command)
    assert f"the local Ray engine was lost (its {part} ended); it is started again" in said
    whole = run_build([str(source)], str(tmp_path / "whole"), CORPUS_RECIPES["demo"], engine=in_process)
    assert open_snapshot(str(out)).digest == whole.digest
    assert verify(str(out)) == []
    rows = sum(open_snapshot(str(out)).document["rows"].values())
    lost = sum(whole.rows.values()) - rows
    survived(f"{part} killed", work="corpus build", lost=max(lost, 0), doubled=max(-lost, 0))


@pytest.mark.parametrize("parts", [("worker", "driver"), pytest.param(("raylet",), marks=pytest.mark.slow)])
def test_an_evaluation_goes_on_and_keeps_what_it_has_measured(
    parts: tuple[str, ...], untrained_checkpoint: str, tmp_path: Path, survived: Survived
) -> None:
    corpus = write_corpus(tmp_path / "drawn", drawings=80)
    call = ["evaluate", "--checkpoint", untrained_checkpoint, "--corpus", corpus, "--steps", "40"]
    call += ["--protocol", "random-reference", "--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"]
    whole, out = tmp_path / "whole", tmp_path / "disturbed"
    with _command(*call, "--out", str(out), cwd=tmp_path) as command:
        for number, part in enumerate(parts, start=1):
            wait_for(lambda: len(list(out.glob("parts/*.parquet"))) >= number)  # noqa: B023
            for process in _struck(command.pid, part):
                process.kill()
        if "driver" in parts:
            command.wait()
        else:
            assert "the local Ray engine was lost" in _ended(command)
    if "driver" in parts:
        assert not (out / "scores.json").exists()
        with _command(*call, "--out", str(out), cwd=tmp_path) as command:
            _ended(command)
    with _command(*call, "--out", str(whole), cwd=tmp_path) as command:
        _ended(command)
    documents = [json.loads((place / "scores.json").read_text()) for place in (out, whole)]
    assert documents[0] == documents[1], "no digit has changed"
    rows = [read_results(str(place)) for place in (out, whole)]
    assert rows[0] == rows[1]
    lost = len(rows[1]) - len(rows[0])
    said = " and ".join(parts)
    survived(f"{said} killed", work="evaluate", tries=len(parts), lost=max(lost, 0), doubled=max(-lost, 0))


def test_a_sweep_that_is_killed_goes_on_with_its_cells_and_scores_none_twice(
    untrained_checkpoint: str, tmp_path: Path, survived: Survived
) -> None:
    corpus = write_corpus(tmp_path / "drawn", drawings=40)
    (tmp_path / "sweep.yaml").write_text(
        f"corpus: {corpus}\ncheckpoints: {untrained_checkpoint}\nprotocols: self\nsampling: {{steps: [20, 21]}}\n"
        "seeds: 0\nlimit: 16\n"
    )
    call = ["sweep", str(tmp_path / "sweep.yaml"), "--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"]
    whole, out = tmp_path / "whole", tmp_path / "disturbed"
    with _command(*call, "--out", str(out), cwd=tmp_path) as command:
        wait_for(lambda: len(list(out.glob("cells/*/scores.json"))) >= 1 and list(out.glob("cells/*/parts/*.parquet")))
        for process in _struck(command.pid, "driver"):
            process.kill()
        command.wait()
    scored = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/scores.json")}
    assert len(scored) == 1
    with _command(*call, "--out", str(out), cwd=tmp_path) as command:
        _ended(command)
    assert {path: path.stat().st_mtime_ns for path in scored} == scored, "no cell was scored twice"
    with _command(*call, "--out", str(whole), cwd=tmp_path) as command:
        _ended(command)
    cells = [
        {path.parent.name: json.loads(path.read_text()) for path in place.glob("cells/*/scores.json")}
        for place in (out, whole)
    ]
    assert len(cells[0]) == 2
    assert cells[0] == cells[1], "no digit has changed"
    survived("driver killed", work="sweep", tries=1, lost=2 - len(cells[0]), doubled=0)


def _struck(pid: int, part: str) -> list[psutil.Process]:
    """What is to be killed: a process of the engine, one that measures, or the command with all that it has started."""
    family = alive(psutil.Process(pid).children(recursive=True))
    if part == "driver":
        return [psutil.Process(pid), *family]
    if part == "raylet":
        return processes_named(pid, part)
    return [process for process in family if "ray::Map" in " ".join(process.cmdline())][:1]


def test_work_that_waits_in_a_call_of_rays_own_is_interrupted(tmp_path: Path) -> None:
    """Such a call drops most of what a signal handler raises, and waits on, until Ray ends the whole process."""
    program = """
import psutil, ray, time
from pipelines.execution.ray_session import ray_session

tries = []

def work():
    tries.append(1)
    if len(tries) == 2:
        return ray.get(ray.remote(lambda: "went on").remote())
    waiting = ray.remote(lambda: time.sleep(1000)).remote()
    ray.wait([ray.remote(lambda: 1).remote()])
    next(part for part in psutil.Process().children() if part.name() == "gcs_server").kill()
    ray.wait([waiting])

with ray_session("log", num_cpus=2) as session:
    print(session.run(work))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    called = [sys.executable, "-c", program]
    done = subprocess.run(called, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr[-3000:]
    assert "its gcs_server ended); it is started again" in done.stderr


def test_a_cluster_that_is_lost_is_a_message_and_the_same_command_goes_on_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # of head and command, whether this user has a token or not
    source, out = write_pictures(tmp_path / "source", PICTURES, height=600, width=800), tmp_path / "out"
    port, sessions = free_port(), tempfile.mkdtemp(prefix="ray-")  # the path of a test is too long for Ray's sockets
    head = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}"),
            *("--num-cpus=1", "--include-dashboard=false", f"--temp-dir={sessions}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    family: list[psutil.Process] = []
    try:
        wait_for(lambda: len(psutil.Process(head.pid).children()) > 4, timeout_s=120)
        with _command(*_build(source, out, "--address", f"127.0.0.1:{port}"), cwd=tmp_path) as command:
            wait_for(lambda: any(out.glob("data/*/*/*.parquet")) or command.poll() is not None)
            family = psutil.Process(head.pid).children(recursive=True)
            for process in (psutil.Process(head.pid), *family):
                process.kill()
            said = _ended(command, code=1)
    finally:
        head.kill()
        head.wait()
        for process in alive(family):
            process.kill()
        shutil.rmtree(sessions, ignore_errors=True)
    assert f"the Ray cluster at 127.0.0.1:{port} was lost (its raylet does not answer)" in said
    assert "the same command goes on from there" in said
    whole = run_build([str(source)], str(tmp_path / "whole"), CORPUS_RECIPES["demo"], engine=in_process)
    assert run_build([str(source)], str(out), CORPUS_RECIPES["demo"], engine=in_process).digest == whole.digest


class _Running(subprocess.Popen[bytes]):
    """A command whose stderr is read beside it."""

    said = b""
    reader: threading.Thread


@contextmanager
def _command(*arguments: str, cwd: Path) -> Iterator[_Running]:
    """`irodori ARGUMENTS...` on a local engine of its own."""
    program = str(Path(sys.executable).with_name("irodori"))
    command = _Running([program, *arguments], cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def read() -> None:
        assert command.stderr is not None
        for line in command.stderr:
            command.said += line

    command.reader = threading.Thread(target=read, daemon=True)
    command.reader.start()
    try:
        yield command
    finally:
        family = psutil.Process(command.pid).children(recursive=True) if command.poll() is None else []
        command.kill()
        command.wait()
        for process in alive(family):
            process.kill()
        command.reader.join(timeout=10)
        if command.stderr is not None:
            command.stderr.close()


def _ended(command: _Running, code: int = 0) -> str:
    """What it has said to its end."""
    found = command.wait(timeout=TIMEOUT_S)
    command.reader.join(timeout=10)
    said = command.said.decode()
    assert found == code, said[-3000:]
    assert "Traceback" not in said
    return said


def _kill(pid: int, part: str, when: Callable[[], bool]) -> None:
    """SIGKILL that process of the engine of `pid`, once something has happened."""
    found_at(lambda: processes_named(pid, part), when)[0].kill()


def _images_seen(out: Path) -> int:
    """Of the newest state that is whole."""
    return StateStore(str(out)).images_seen()


def _build(source: Path, out: Path, *options: str) -> list[str]:
    places = ["--source", str(source), "--out", str(out), "--tracking-uri", f"sqlite:///{out.parent / 'mlflow.db'}"]
    return ["corpus", "build", *places, "--recipe", "demo", "--set", "shard_rows=4", *options]
