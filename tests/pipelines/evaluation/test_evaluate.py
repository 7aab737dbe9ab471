"""An evaluation from plan to score: what is decided before it starts, what it leaves behind, how it fails."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dataprep.errors import DataError
from dataprep.pictures.decode import decode_png
from eval.errors import EvalError
from eval.protocols import from_parquet
from model.checkpoint import load_checkpoint, read_metadata
from model.diffusion.sampling_settings import SamplingSettings
from model.errors import ModelError
from pipelines import lineage
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.common.progress import Progress
from pipelines.corpus_build.build import run_build
from pipelines.evaluation.evaluate import EvaluatePlan, evaluate, plan_evaluation, read_results
from pipelines.evaluation.pair_scorer import PairScorer, ScoreJob
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_pictures
from tests.pipelines.training.untrained import write_checkpoint

QUICK = SamplingSettings(steps=2)


@pytest.fixture(scope="module")
def corpus(drawn_corpus: str) -> str:
    return drawn_corpus


@pytest.fixture(scope="module")
def checkpoint(untrained_checkpoint: str) -> str:
    return untrained_checkpoint


def plan(
    checkpoint: str, corpus: str, protocol: str, out: Path, limit: int | None = None, seed: int = 0, ema: bool = False
) -> EvaluatePlan:
    return plan_evaluation(checkpoint, corpus, protocol, str(out), sampling=QUICK, limit=limit, seed=seed, ema=ema)


# ---- before it starts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["self", "deformed-reference", "random-reference", "known-answer"])
def test_the_pairing_follows_from_corpus_and_seed_alone(
    checkpoint: str, corpus: str, tmp_path: Path, protocol: str
) -> None:
    first, again, other = (
        plan(checkpoint, corpus, protocol, tmp_path / str(seed), 4, seed).pairs for seed in (0, 0, 1)
    )
    assert len(first) == 4
    assert first == again != other


@pytest.mark.parametrize(("limit", "pairs"), [(4, 4), (5, 4), (3, 2), (2, 2)])
def test_known_answer_pairs_come_in_couples_and_never_more_than_asked(
    checkpoint: str, corpus: str, tmp_path: Path, limit: int, pairs: int
) -> None:
    assert len(plan(checkpoint, corpus, "known-answer", tmp_path, limit).pairs) == pairs


def test_without_a_limit_every_validation_row_is_used(checkpoint: str, corpus: str, tmp_path: Path) -> None:
    rows = {pair.sketch_id for pair in plan(checkpoint, corpus, "self", tmp_path).pairs}
    resolved = plan(checkpoint, corpus, "random-reference", tmp_path)
    assert {pair.sketch_id for pair in resolved.pairs} == rows
    assert all(pair.sketch_id != pair.reference_id for pair in resolved.pairs)
    assert resolved.columns == ("color", "sketch_drawn", "sketch_xdog")


def test_a_plan_writes_nothing(checkpoint: str, corpus: str, tmp_path: Path) -> None:
    plan(checkpoint, corpus, "self", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_evaluated_is_refused_before_work_starts(checkpoint: str, corpus: str, tmp_path: Path) -> None:
    nowhere, out = str(tmp_path / "nowhere"), tmp_path / "out"
    with pytest.raises(SettingsError, match="did you mean self"):
        plan(checkpoint, corpus, "selv", out)
    with pytest.raises(PipelineError, match="holds no checkpoint"):
        plan(nowhere, corpus, "self", out)
    with pytest.raises(DataError, match="no corpus here"):
        plan(checkpoint, nowhere, "self", out)
    with pytest.raises(ModelError, match="family 'rasc'"):
        plan(write_checkpoint(tmp_path / "rasc", family="rasc"), corpus, "self", out)
    with pytest.raises(ModelError, match="holds no moving average of its weights") as refused:
        plan(checkpoint, corpus, "self", out, ema=True)
    assert "\n" not in str(refused.value)
    with pytest.raises(PipelineError, match="trained at 96x64"):
        plan(write_checkpoint(tmp_path / "wide", 96, 64), corpus, "known-answer", out)


def test_known_answers_need_assembled_pictures(checkpoint: str, tmp_path: Path) -> None:
    plain = str(tmp_path / "corpus")
    run_build([str(write_pictures(tmp_path / "pictures", 8))], plain, SMALL, engine=in_process)
    with pytest.raises(EvalError, match="assembled pictures"):
        plan(checkpoint, plain, "known-answer", tmp_path / "out")


# ---- the work ----------------------------------------------------------------------------------------------------


@pytest.mark.ray
def test_an_evaluation_leaves_all_that_a_score_must_name(
    ray_engine: None, checkpoint: str, corpus: str, tmp_path: Path
) -> None:
    out, store, news = tmp_path / "out", f"sqlite:///{tmp_path / 'runs.db'}", list[Progress]()
    resolved = plan(checkpoint, corpus, "known-answer", out, 10)
    document = evaluate(resolved, log_file=tmp_path / "log", progress=news.append, tracking_uri=store)

    assert json.loads((out / "scores.json").read_text()) == json.loads(json.dumps(document))
    assert (document["protocol"], document["samples"], document["snapshot"]) == ("known-answer", 10, 1)
    assert (document["checkpoint"], document["corpus_digest"]) == (checkpoint, resolved.digest)
    assert document["sampling"]["steps"] == 2
    assert from_parquet((out / "pairs.parquet").read_bytes()) == list(resolved.pairs)

    results = read_results(str(out))
    assert [row["sketch_id"] for row in results] == [pair.sketch_id for pair in resolved.pairs]
    scores = document["scores"]
    assert scores["known_answer_share"] == pytest.approx(np.mean([row["nearer"] for row in results]))
    assert scores["known_answer_share_lower95"] < scores["known_answer_share"] < scores["known_answer_share_upper95"]
    assert scores["psnr"] == pytest.approx(np.mean([row["psnr"] for row in results]))
    for name in ("background", "hair"):
        present = [row[f"psnr_{name}"] for row in results if not np.isnan(row[f"psnr_{name}"])]
        assert scores[f"psnr_{name}"] == (pytest.approx(np.mean(present)) if present else None)
    assert {name for name, value in scores.items() if value is None} == set(document["reasons"])

    shown = decode_png((out / "pictures" / "03-result.png").read_bytes())
    np.testing.assert_array_equal(shown, decode_png(results[3]["result_png"]))
    assert (news[0].done, news[-1].done, news[-1].total) == (0, 10, 10)
    kinds = [node.kind for node in lineage.find_chain(str(out)).nodes]
    assert kinds == ["checkpoint", "corpus", "evaluation"]


@pytest.mark.ray
def test_a_score_of_the_moving_average_says_so(ray_engine: None, corpus: str, tmp_path: Path) -> None:
    average = write_checkpoint(tmp_path / "average", seed=1)
    both = write_checkpoint(tmp_path / "both", ema=load_checkpoint(Path(average))[0].state_dict())
    resolved, store = plan(both, corpus, "self", tmp_path / "out", 1, ema=True), f"sqlite:///{tmp_path / 'runs.db'}"
    document = evaluate(resolved, log_file=tmp_path / "log", tracking_uri=store)
    assert (document["ema"], document["checkpoint_weights"]) == (True, read_metadata(Path(both)).ema_sha256)
    job = ScoreJob("self", average, corpus, resolved.snapshot, resolved.columns, QUICK, threads=1)
    (expected,) = PairScorer(job)(resolved.pairs, [False])
    assert document["scores"]["psnr"] == pytest.approx(expected["psnr"], rel=1e-3)


@pytest.mark.ray
def test_a_worker_that_cannot_start_is_told_in_one_line_and_fails_the_run(
    ray_engine: None, checkpoint: str, corpus: str, tmp_path: Path
) -> None:
    damaged, out = tmp_path / "damaged", tmp_path / "out"
    shutil.copytree(checkpoint, damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    with pytest.raises(PipelineError, match="damaged, its sha256") as failed:
        evaluate(plan(str(damaged), corpus, "self", out, 1), log_file=tmp_path / "log", tracking_uri=store)
    assert "\n" not in str(failed.value)
    assert not (out / "scores.json").exists()
