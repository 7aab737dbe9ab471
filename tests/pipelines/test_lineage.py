"""The chain from a score back to the pictures: beside every output, and in MLflow alone. On SQLite, as by default."""

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run as StoredRun

from pipelines import lineage
from pipelines.common.errors import PipelineError
from pipelines.tracking.outbox import Contents
from pipelines.tracking.stores import tracking_uri_of
from tests.faults import Survived
from tests.pipelines.training.train_helpers import wait_for

DIGEST = "d" * 64


@dataclass(frozen=True)
class Work:
    """A corpus, a stage made of it and a score of that stage, each with its run."""

    folder: Path
    store: str
    corpus: str
    checkpoint: str
    score: str

    def run_of(self, output: str) -> StoredRun:
        document = json.loads(Path(output, lineage.LINEAGE).read_text())
        return mlflow.MlflowClient(self.store).get_run(document["run_id"])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("it's here")
    store = f"sqlite:///{folder / 'runs.db'}"
    corpus, stage, score = (str(folder / name) for name in ("corpus", "stage", "score"))
    checkpoint = f"{stage}/checkpoint"
    with lineage.run("corpus", "corpus build", corpus, store, {"seed": 0}) as run:
        run.log_metrics({"rows": 12, "note": "no number", "nothing": None})
        run.finish(lineage.Node(corpus, "corpus", "snapshot 3"), [], ["/pictures/a", "s3://bucket/b"])
    read = lineage.Input("corpus", corpus, 3, DIGEST)
    with lineage.run("train", "v1.noisy", stage, store, {"seed": 0}) as run:
        run.log_metrics({"loss": 0.5}, step=16)
        run.log_metrics({"loss": 0.25}, step=32)
        run.finish(lineage.Node(checkpoint, "checkpoint", "v1.noisy"), [read])
    with lineage.run("evaluation", "known-answer", score, store, {"seed": 0}) as run:
        run.finish(lineage.Node(score, "evaluation", "known-answer"), [lineage.Input("checkpoint", checkpoint), read])
    return Work(folder, store, corpus, checkpoint, score)


def edges_of(work: Work) -> set[tuple[str, str]]:
    return {
        ("/pictures/a", work.corpus),
        ("s3://bucket/b", work.corpus),
        (work.corpus, work.checkpoint),
        (work.corpus, work.score),
        (work.checkpoint, work.score),
    }


def test_the_chain_of_a_score_reaches_the_sources_by_address(work: Work) -> None:
    chain = lineage.find_chain(work.score)
    assert set(chain.edges) == edges_of(work)
    assert [node.kind for node in chain.nodes] == ["source", "source", "corpus", "checkpoint", "evaluation"]
    assert len({node.id for node in chain.nodes}) == len(chain.nodes)


def test_the_chain_of_a_run_is_the_same_without_the_files_beside_the_output(work: Work) -> None:
    run_id = work.run_of(work.score).info.run_id
    assert lineage.find_chain(run_id, work.store) == lineage.find_chain(work.score)


def test_a_checkpoint_below_its_run_has_the_chain_of_the_run(work: Work) -> None:
    chain = lineage.find_chain(work.checkpoint)
    assert chain.nodes[-1] == lineage.Node(work.checkpoint, "checkpoint", "v1.noisy")


def test_a_copied_result_is_named_where_it_lies_now_and_keeps_no_address_of_its_own(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for result in (work.corpus, str(Path(work.checkpoint).parent), work.score):
        copy = shutil.copytree(result, tmp_path / Path(result).name)
        assert result not in (copy / lineage.LINEAGE).read_text()
    monkeypatch.chdir(tmp_path)
    ends = [lineage.find_chain(name).nodes[-1].id for name in ("corpus", "stage", "stage/checkpoint", "score")]
    assert ends == [str(tmp_path / name) for name in ("corpus", "stage/checkpoint", "stage/checkpoint", "score")]
    chain = lineage.find_chain("corpus")
    assert set(chain.edges) == {(source, str(tmp_path / "corpus")) for source in ("/pictures/a", "s3://bucket/b")}
    # What is made of the copy is made of the copy.
    made = lineage.chain_of(lineage.Node("n", "corpus", "n"), [lineage.Input("corpus", str(tmp_path / "corpus"))], [])
    assert (str(tmp_path / "corpus"), "n") in made.edges
    assert work.corpus not in {node.id for node in made.nodes}


def test_a_document_of_version_0_1_is_named_where_it_lies_now(work: Work, tmp_path: Path) -> None:
    """It holds the address at which its result was made."""
    for result, end in ((work.corpus, ""), (str(Path(work.checkpoint).parent), "/checkpoint")):
        folder = tmp_path / Path(result).name
        folder.mkdir()
        document = json.loads(Path(result, lineage.LINEAGE).read_text())
        old = lineage.find_chain(result).document()
        (folder / lineage.LINEAGE).write_text(json.dumps(document | {"chain": old}))
        chain = lineage.find_chain(str(folder))
        assert chain.nodes[-1].id == f"{folder}{end}"
        assert all(node.id in {end for edge in chain.edges for end in edge} for node in chain.nodes)


def test_a_chain_survives_its_document() -> None:
    chain = lineage.Chain((lineage.Node("a", "source", "A"), lineage.Node("b", "corpus", "B")), (("a", "b"),))
    assert lineage.Chain.of(json.loads(json.dumps(chain.document()))) == chain
    assert chain.document()["edges"] == [{"from": "a", "to": "b"}]


def test_each_run_is_finished_and_names_its_parents(work: Work) -> None:
    outputs = work.corpus, str(Path(work.checkpoint).parent), work.score
    corpus, stage, score = (work.run_of(output) for output in outputs)
    assert {run.info.status for run in (corpus, stage, score)} == {"FINISHED"}
    assert score.data.tags["irodori.parent.checkpoint"] == stage.info.run_id
    assert score.data.tags["irodori.parent.corpus"] == corpus.info.run_id
    assert stage.data.tags["irodori.code_version"].startswith("0.")


def test_the_corpus_is_a_dataset_of_metadata_with_the_snapshots_digest(work: Work) -> None:
    inputs = work.run_of(str(Path(work.checkpoint).parent)).inputs
    assert inputs is not None
    (used,) = inputs.dataset_inputs
    assert DIGEST.startswith(used.dataset.digest)
    assert json.loads(used.dataset.profile or "") == {"snapshot": 3, "digest": DIGEST}
    assert json.loads(used.dataset.source) == {"uri": work.corpus, "snapshot": 3}
    assert used.dataset.schema is None


def test_a_checkpoint_is_one_version_of_the_registered_model_of_its_stage(work: Work) -> None:
    client, folder = mlflow.MlflowClient(work.store), Path(work.checkpoint).parent
    (version,) = client.search_model_versions("name = 'irodori-v1.noisy'")
    assert version.source == work.checkpoint
    assert version.run_id == work.run_of(str(folder)).info.run_id
    assert version.tags["irodori.corpus_digest"] == DIGEST


def test_metrics_are_numbers_at_the_images_seen(work: Work) -> None:
    assert work.run_of(work.corpus).data.metrics == {"rows": 12}
    run_id = work.run_of(str(Path(work.checkpoint).parent)).info.run_id
    history = mlflow.MlflowClient(work.store).get_metric_history(run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(16, 0.5), (32, 0.25)]


def once(work: Work, out: str, params: dict[str, int], error: BaseException | None = None) -> str:
    """Work that ends, or fails with `error`; the id of its run."""
    traced: list[lineage.Run] = []

    def trace() -> None:
        with lineage.run("train", "x", out, work.store, params) as run:
            traced.append(run)
            if error is not None:
                raise error

    with nullcontext() if error is None else pytest.raises(type(error)):
        trace()
    assert traced[0].run_id is not None
    return traced[0].run_id


def failing(work: Work, out: str, params: dict[str, int]) -> str:
    return once(work, out, params, RuntimeError("lost"))


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("lost"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(143), "KILLED")],
)
def test_work_that_ends_early_is_such_a_run_and_goes_on_as_the_same(
    work: Work, error: BaseException, status: str
) -> None:
    client, out = mlflow.MlflowClient(work.store), str(work.folder / f"ends-{type(error).__name__}")
    ended = once(work, out, {"seed": 1}, error)
    assert client.get_run(ended).info.status == status
    with lineage.run("train", "x", out, work.store, {"seed": 1}) as run:
        wait_for(lambda: run.run_id == ended and client.get_run(ended).info.status == "RUNNING")
    assert client.get_run(ended).info.status == "FINISHED"


KILLED = """
import os, signal, sys, time
from pipelines import lineage
with lineage.run("train", "x", sys.argv[1], sys.argv[2], {"seed": 1}) as run:
    while run.run_id is None:
        time.sleep(0.05)
    run.log_metrics({"loss": 0.5}, step=8)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.seconds
def test_a_killed_run_goes_on_as_the_same_and_loses_nothing(work: Work, survived: Survived) -> None:
    out, client = str(work.folder / "killed"), mlflow.MlflowClient(work.store)
    subprocess.run([sys.executable, "-c", KILLED, out, work.store], check=False, stderr=subprocess.DEVNULL)
    (waiting,) = Path(out, "tracking").iterdir()
    first = Contents.of(waiting.read_bytes()).run_id
    with lineage.run("train", "x", out, work.store, {"seed": 1}) as run:
        run.log_metrics({"loss": 0.25}, step=16)
    assert first is not None
    assert run.run_id == first
    history = client.get_metric_history(first, "loss")
    survived("process killed", work="tracking", lost=2 - len({m.step for m in history}), doubled=len(history) - 2)
    assert [(metric.step, metric.value) for metric in history] == [(8, 0.5), (16, 0.25)]
    assert not Path(out, "tracking").exists()


@pytest.mark.seconds
def test_finished_work_other_parameters_and_other_outputs_are_runs_of_their_own(work: Work) -> None:
    out = str(work.folder / "own")
    ids = {failing(work, out, {"seed": 1}), failing(work, out, {"seed": 2}), failing(work, f"{out}2", {"seed": 1})}
    ids |= {once(work, f"{out}3", {"seed": 1}) for _ in range(2)}
    assert len(ids) == 5


@pytest.mark.parametrize(
    "store", ["sqlite:////proc/nowhere/x.db", "what://is/this", "gs://bucket/runs", "postgresql://host/db", "./mlruns"]
)
def test_a_store_whose_address_cannot_be_right_is_said_in_one_line_before_work_starts(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match="cannot be used") as refused, lineage.run("k", "n", "out", store, {}):
        pass
    assert not Path("out").exists()
    assert store in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_output_without_a_chain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"no lineage\.json"):
        lineage.find_chain(str(tmp_path))


def test_an_unknown_run_is_refused_and_makes_no_store(work: Work, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="not found"):
        lineage.find_chain("0" * 32, work.store)
    absent = tmp_path / "absent.db"
    with pytest.raises(PipelineError, match="no MLflow store"):
        lineage.find_chain("0" * 32, f"sqlite:///{absent}")
    assert not absent.exists()


def test_the_store_is_the_given_one_else_the_environments_else_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri_of(None) == "sqlite:///irodori.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    assert tracking_uri_of(None) == "http://server"
    assert tracking_uri_of("sqlite:///other.db") == "sqlite:///other.db"


def test_what_was_made_elsewhere_begins_the_chain(work: Work) -> None:
    foreign, out = "s3-less/published", str(work.folder / "of-foreign")
    with lineage.run("evaluation", "self", out, work.store, {}) as run:
        run.finish(lineage.Node(out, "evaluation", "self"), [lineage.Input("checkpoint", foreign)])
    chain = lineage.find_chain(out)
    assert chain.nodes[0] == lineage.Node(foreign, "checkpoint", "published")
    assert chain.edges == ((foreign, out),)
