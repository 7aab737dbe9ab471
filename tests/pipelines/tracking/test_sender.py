"""MLflow locked, deleted, away and slow, at the start, in the middle and at the end of work: nothing waits for it,
nothing is lost, nothing is there twice.
"""

import json
import logging
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest

from pipelines import lineage
from pipelines.tracking.outbox import held, outbox_folder
from pipelines.tracking.stores import absolute_store
from pipelines.tracking.sync import sync
from tests.faults import Survived
from tests.pipelines.training.train_helpers import wait_for

STEPS = 40
pytestmark = pytest.mark.seconds


@dataclass(frozen=True)
class Traced:
    """Work that was traced: where, and how long its steps and its end took."""

    out: Path
    steps_s: float
    ending_s: float

    def document(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.out / "lineage.json").read_text())
        return found


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end nobody waits for ten seconds here."""
    monkeypatch.setattr(lineage, "PATIENCE_S", 1.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def database(tmp_path: Path, made_store: bytes) -> Path:
    file = tmp_path / "runs.db"
    file.write_bytes(made_store)
    return file


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """The store as another process holds it."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def work(out: Path, store: str) -> Traced:
    """STEPS steps and an end, traced."""
    with lineage.run("train", "v1.x", str(out), store, {"seed": 1}) as run:
        started = time.monotonic()
        for step in range(STEPS):
            run.log_metrics({"loss": 1 / (step + 1)}, step)
            time.sleep(0.01)
        ended = time.monotonic()
        run.finish(lineage.Node(f"{out}/checkpoint", "checkpoint", "v1.x"), [])
    return Traced(out, ended - started, time.monotonic() - ended)


def arrived(store: str, run: lineage.Run) -> int:
    """How many losses MLflow holds."""
    run_id = run.run_id
    return len(mlflow.MlflowClient(store).get_metric_history(run_id, "loss")) if run_id else 0


def history_of(store: str, run_id: object) -> list[int]:
    """The steps of the losses that MLflow holds, in order; a step that is there twice stands here twice."""
    client = mlflow.MlflowClient(store, registry_uri=store)
    assert client.get_run(str(run_id)).info.status == "FINISHED"
    return sorted(metric.step for metric in client.get_metric_history(str(run_id), "loss"))


def counted(steps: list[int]) -> tuple[int, int]:
    """(lost, doubled) beside undisturbed work."""
    return STEPS - len(set(steps)), len(steps) - len(set(steps))


def test_a_store_locked_from_start_to_end_costs_no_time_and_gets_everything_later(
    database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, survived: Survived
) -> None:
    store, out = f"sqlite:///{database}", tmp_path / "out"
    with locked(database), caplog.at_level(logging.WARNING, "irodori"):
        traced = work(out, store)
        assert traced.steps_s < 10
        assert traced.ending_s < 15
        document = traced.document()
        assert document["run_id"] is None
        assert document["chain"]
        assert sync(str(out), store).held == 1
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("irodori")]
    assert f"irodori tracking sync {out}" in warning
    wait_for(lambda: not held(str(out)), 60)  # the thread gives its outbox back when its call returns
    assert sync(str(out), store).held == 0
    assert not (out / "tracking").exists()
    run_id = traced.document()["run_id"]
    lost, doubled = counted(history_of(store, run_id))
    survived("MLflow locked from start to end", work="tracking", lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)
    assert sync(str(out), store).outboxes == 0
    assert lineage.find_chain(str(run_id), store) == lineage.find_chain(str(out))


def test_a_store_locked_in_the_middle_is_sent_everything_by_the_end(
    database: Path, tmp_path: Path, survived: Survived
) -> None:
    store, out = f"sqlite:///{database}", tmp_path / "out"
    slowest = 0.0
    with lineage.run("train", "x", str(out), store, {}) as run:
        wait_for(lambda: run.run_id is not None, 30)
        with locked(database):
            for step in range(STEPS):
                before = time.monotonic()
                run.log_metrics({"loss": 0.5}, step)
                slowest = max(slowest, time.monotonic() - before)
            time.sleep(1)
        wait_for(lambda: arrived(store, run) == STEPS, 60)
    lost, doubled = counted(history_of(store, run.run_id))
    survived("MLflow locked in the middle", work="tracking", lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)
    assert slowest < 5


def test_a_store_locked_at_the_end_leaves_a_complete_result(database: Path, tmp_path: Path, survived: Survived) -> None:
    store, out = f"sqlite:///{database}", tmp_path / "out"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        with lineage.run("train", "x", str(out), store, {}) as run:
            for step in range(STEPS):
                run.log_metrics({"loss": 0.5}, step)
            wait_for(lambda: arrived(store, run) == STEPS, 60)
            connection.execute("BEGIN EXCLUSIVE")
            run.finish(lineage.Node(str(out), "evaluation", "x"), [])
        connection.execute("ROLLBACK")
    assert (out / "lineage.json").is_file()
    wait_for(lambda: not held(str(out)), 60)
    sync(str(out), store)
    lost, doubled = counted(history_of(store, run.run_id))
    survived("MLflow locked at the end", work="tracking", lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)
    assert lineage.find_chain(str(run.run_id), store) == lineage.find_chain(str(out))


@pytest.mark.drill
def test_a_store_that_is_deleted_is_made_again_with_everything(
    database: Path, tmp_path: Path, survived: Survived
) -> None:
    store, out = f"sqlite:///{database}", tmp_path / "out"
    with lineage.run("train", "x", str(out), store, {"seed": 3}) as run:
        for step in range(STEPS // 2):
            run.log_metrics({"loss": 0.5}, step)
        wait_for(lambda: arrived(store, run) == STEPS // 2, 60)
        first = run.run_id
        database.unlink()
        for step in range(STEPS // 2, STEPS):
            run.log_metrics({"loss": 0.5}, step)
        wait_for(lambda: run.run_id != first, 60)
        run.finish(lineage.Node(str(out), "evaluation", "x"), [])
    store = f"sqlite:///{database.parent}/./{database.name}"  # MLflow keeps connections by spelling, also here
    fresh = subprocess.run(
        [sys.executable, "-c", READ, store, str(run.run_id)], capture_output=True, text=True, check=True
    )
    lost, doubled = counted(json.loads(fresh.stdout))
    survived("MLflow database deleted", work="tracking", lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)
    assert json.loads((out / "lineage.json").read_text())["run_id"] == run.run_id


READ = """
import json, sys
import mlflow
client = mlflow.MlflowClient(sys.argv[1])
print(json.dumps([metric.step for metric in client.get_metric_history(sys.argv[2], "loss")]))
"""


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["nobody there", "never answers"])
def test_a_server_that_does_not_answer_holds_nothing_up(
    kind: str, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: Survived
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    out = tmp_path / "out"
    with silent_server() as address:
        traced = work(out, address if kind == "never answers" else "http://127.0.0.1:9")
    assert traced.steps_s < 10
    assert traced.ending_s < 15
    store = f"sqlite:///{database}"
    wait_for(lambda: not held(str(out)), 60)
    sync(str(out), store)
    lost, doubled = counted(history_of(store, traced.document()["run_id"]))
    survived(f"MLflow server: {kind}", work="tracking", lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)


def test_sending_that_breaks_off_anywhere_doubles_nothing(database: Path, tmp_path: Path, survived: Survived) -> None:
    """What is recorded as sent is taken away line by line: as if each crash came before that was written."""
    out = tmp_path / "out"
    work(out, "http://127.0.0.1:9")
    folder, store = outbox_folder(str(out)), f"sqlite:///{database}"
    wait_for(lambda: not held(str(out)), 60)
    (file,) = folder.iterdir()
    records = file.read_bytes()
    tries = 0
    for _ in range(3):
        sync(str(out), store)
        assert not folder.exists()
        folder.mkdir()
        file.write_bytes(records)
        tries += 1
    sync(str(out), store)
    run_ids = {run.info.run_id for run in mlflow.MlflowClient(store).search_runs(["1"], "tags.irodori.kind = 'train'")}
    mine = [run_id for run_id in run_ids if mlflow.MlflowClient(store).get_metric_history(run_id, "loss")]
    lost, doubled = counted(history_of(store, mine[0]))
    survived("sending broken off", work="tracking", tries=tries, lost=lost, doubled=doubled + len(mine) - 1)
    assert (lost, doubled, len(mine)) == (0, 0, 1)
    versions = mlflow.MlflowClient(store, registry_uri=store).search_model_versions("name = 'irodori-v1.x'")
    assert len(versions) == 1


FIRST = """
import sys
from pipelines import lineage
with lineage.run("train", "x", sys.argv[1], None, {}) as run:
    run.finish(lineage.Node(sys.argv[1], "evaluation", "x"), [])
assert run.run_id, "nothing was sent"
"""


@pytest.mark.drill
def test_several_first_commands_at_once_in_an_empty_folder_all_work(tmp_path: Path, survived: Survived) -> None:
    command = [sys.executable, "-c", FIRST]
    started = [
        subprocess.Popen([*command, str(tmp_path / f"out{n}")], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    left = [process.returncode for process in started]
    survived("three first commands at once", work="tracking", tries=3, lost=sum(map(bool, left)), doubled=0)
    assert left == [0, 0, 0], said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "irodori-artifacts",
        "irodori.db",
        "out0",
        "out1",
        "out2",
    ]
    with closing(sqlite3.connect(tmp_path / "irodori.db")) as connection:
        assert connection.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone() == (3,)


def test_the_recorded_store_is_the_same_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_store("sqlite:///runs.db") == f"sqlite:///{tmp_path}/runs.db"
    assert absolute_store("http://server") == "http://server"


IMPATIENT = """
import sys
from pipelines import lineage
lineage.PATIENCE_S = 1.0
with lineage.run("train", "x", sys.argv[1], sys.argv[2], {}) as run:
    run.finish(lineage.Node(sys.argv[1], "evaluation", "x"), [])
"""


@pytest.mark.drill
def test_a_request_that_never_returns_does_not_keep_the_process(tmp_path: Path, survived: Survived) -> None:
    with silent_server() as address:
        command = [sys.executable, "-c", IMPATIENT, str(tmp_path / "out"), address]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    kept = len(list((tmp_path / "out" / "tracking").iterdir()))  # undisturbed, the one run is there once
    survived("MLflow server: never answers", work="tracking", lost=max(1 - kept, 0), doubled=max(kept - 1, 0))
    assert done.returncode == 0, done.stderr
    assert "takes no records" in done.stderr
    assert kept == 1


def test_a_default_store_that_cannot_be_made_names_the_remedy_and_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(lineage, "PATIENCE_S", 30.0)
    (tmp_path / "irodori.db").symlink_to("/proc/1/attr/nothing")  # nobody can write there, root neither
    with caplog.at_level(logging.WARNING, "irodori"), lineage.run("train", "x", "out", None, {}) as run:
        run.finish(lineage.Node("out", "evaluation", "x"), [])
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("irodori")]
    assert "irodori tracking sync out" in warning
    assert Path("out/lineage.json").is_file()
    assert len(list(Path("out/tracking").iterdir())) == 1
