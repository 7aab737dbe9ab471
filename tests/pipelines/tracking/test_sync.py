"""`sync`: what was kept is sent, once; what cannot be sent stays."""

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow
import pytest

from dataprep.storage import store as storage
from pipelines import lineage
from pipelines.common.errors import PipelineError
from pipelines.tracking.outbox import held
from pipelines.tracking.sync import sync
from tests.pipelines.training.train_helpers import wait_for

NOBODY = "http://127.0.0.1:9"
pytestmark = pytest.mark.seconds


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "PATIENCE_S", 0.5)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    logging.getLogger("irodori").setLevel(logging.WARNING)


@pytest.fixture
def store(tmp_path: Path, made_store: bytes) -> str:
    (tmp_path / "runs.db").write_bytes(made_store)
    return f"sqlite:///{tmp_path / 'runs.db'}"


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """The store as another process holds it."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def unsent(out: str, store: str | None = NOBODY) -> None:
    """Work of which MLflow took nothing."""
    with lineage.run("corpus", "corpus build", out, store, {"seed": 0}) as run:
        run.log_metrics({"rows": 12})
        run.finish(lineage.Node(out, "corpus", "snapshot 1"), [])
    wait_for(lambda: not held(out), 30)


def test_what_cannot_be_sent_stays_and_a_later_call_sends_it(tmp_path: Path, store: str) -> None:
    out = str(tmp_path / "out")
    unsent(out)
    (kept,) = Path(out, "tracking").iterdir()
    with pytest.raises(PipelineError, match=r"takes no records .*they are kept in"):
        sync(out, NOBODY)
    assert kept.is_file()
    synced = sync(out, store)
    assert (synced.outboxes, synced.records, synced.damaged, synced.held) == (1, 4, 0, 0)
    run_id = json.loads(Path(out, "lineage.json").read_text())["run_id"]
    assert mlflow.MlflowClient(store).get_run(run_id).data.metrics == {"rows": 12}
    assert sync(out, store).outboxes == 0


def test_work_that_was_killed_is_such_a_run(tmp_path: Path, store: str) -> None:
    out = str(tmp_path / "out")
    unsent(out)
    (kept,) = Path(out, "tracking").iterdir()
    kept.write_bytes(b"".join(line for line in kept.read_bytes().splitlines(True) if b'"end"' not in line))
    sync(out, store)
    (found,) = mlflow.MlflowClient(store).search_runs(["1"], "tags.`mlflow.runName` = 'corpus build'")
    assert found.info.status == "KILLED"


def test_a_store_with_a_password_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = str(tmp_path / "out")
    with_password = "http://me:marked-secret@127.0.0.1:9"
    unsent(out, with_password)
    (kept,) = Path(out, "tracking").iterdir()
    assert b"marked-secret" not in kept.read_bytes()
    with pytest.raises(PipelineError, match="MLFLOW_TRACKING_URI") as refused:
        sync(out)
    assert "marked-secret" not in str(refused.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", with_password)
    with pytest.raises(PipelineError, match="the server does not answer"):
        sync(out)


def test_an_output_on_s3_keeps_its_records_too(
    s3_prefix: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{s3_prefix}/out"
    monkeypatch.chdir(tmp_path)
    unsent(out)
    (there,) = storage.list_files(f"{out}/tracking")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # as on another machine
    assert sync(out, store).records == 4
    assert not storage.exists(there.uri)
    assert json.loads(storage.read_bytes(f"{out}/lineage.json"))["run_id"]
    monkeypatch.chdir(tmp_path)  # what still lies here is sent again, and changes nothing
    assert sync(out, store).outboxes == 1
    (found,) = mlflow.MlflowClient(store).search_runs(["1"], "tags.`mlflow.runName` = 'corpus build'")
    assert len(mlflow.MlflowClient(store).get_metric_history(found.info.run_id, "rows")) == 1


@pytest.mark.parametrize("by", ["environment", "default of the working directory"])
def test_the_store_in_force_is_taken_where_it_is_that_of_the_work(
    by: str, tmp_path: Path, made_store: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "irodori.db").write_bytes(made_store)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if by == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/irodori.db")
    with locked(tmp_path / "irodori.db"):
        unsent(out, None)
    assert sync(out).records == 4


def test_a_store_that_only_a_copied_outbox_names_is_refused_and_made_nowhere(tmp_path: Path, store: str) -> None:
    out, planted = str(tmp_path / "out"), tmp_path / "elsewhere" / "planted.db"
    unsent(out)
    (kept,) = Path(out, "tracking").iterdir()
    kept.write_bytes(kept.read_bytes().replace(NOBODY.encode(), f"sqlite:///{planted}".encode()))
    with pytest.raises(PipelineError, match=f"sqlite:///{planted}, and the one in force .* --tracking-uri"):
        sync(out)
    assert not planted.parent.exists()
    assert kept.is_file()
    assert sync(out, store).records == 4


def test_a_store_that_the_call_named_is_in_the_remedy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = str(tmp_path / "out")
    with caplog.at_level(logging.WARNING, "irodori"):
        unsent(out)
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("irodori")]
    assert f"irodori tracking sync {out} --tracking-uri {NOBODY}" in said


def test_a_lineage_of_somebody_else_beside_the_output_is_left_alone(tmp_path: Path, store: str) -> None:
    out = tmp_path / "out"
    unsent(str(out))
    (out / "lineage.json").write_bytes(b"[" * 100_000)
    assert sync(str(out), store).records == 4
    assert (out / "lineage.json").read_bytes() == b"[" * 100_000
