"""An evaluation on Ray: what it leaves behind, that other modules plug into it, and how it fails."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprep.pictures.decode import decode_png
from dataprep.storage.store import write_whole
from eval.metrics.metric import LOWER, UPPER
from eval.protocols.pairing import Pair, to_parquet
from model.diffusion.sampling_settings import SamplingSettings
from model.weights.reading import sha256
from pipelines import lineage
from pipelines.common.errors import PipelineError
from pipelines.common.progress import Progress
from pipelines.evaluation import parts
from pipelines.evaluation.evaluate import evaluate, finished
from pipelines.evaluation.features import read_results
from pipelines.evaluation.plan import EvaluatePlan, plan_evaluation
from pipelines.evaluation.scoring.pair_scorer import PairScorer
from pipelines.evaluation.tasks import part_tasks, scoring

QUICK = SamplingSettings(steps=2)


def plan(checkpoint: str, corpus: str, protocol: str, out: Path, limit: int) -> EvaluatePlan:
    return plan_evaluation(checkpoint, corpus, protocol, str(out), sampling=QUICK, limit=limit)


@pytest.mark.ray
def test_an_evaluation_leaves_all_that_a_score_must_name(
    ray_engine: None, checkpoint: str, corpus: str, store: str, tmp_path: Path
) -> None:
    out, news = tmp_path / "out", list[Progress]()
    resolved = plan(checkpoint, corpus, "known-answer", out, 10)
    document = evaluate(resolved, log_file=tmp_path / "log", progress=news.append, tracking_uri=store)

    assert json.loads((out / "scores.json").read_text()) == json.loads(json.dumps(document))
    assert (document["protocol"], document["samples"], document["snapshot"]) == ("known-answer", 10, 1)
    assert (document["checkpoint"], document["corpus_digest"]) == (checkpoint, resolved.digest)
    assert document["sampling"]["steps"] == 2
    assert [Pair(**row) for row in pq.read_table(out / "pairs.parquet").to_pylist()] == list(resolved.pairs)

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

    # the same call again reads it, and starts nothing
    before, news = (out / "scores.json").stat().st_mtime_ns, []
    assert evaluate(resolved, log_file=tmp_path / "none", progress=news.append) == json.loads(json.dumps(document))
    assert [(item.done, item.note) for item in news] == [(10, "was complete already")]
    assert (out / "scores.json").stat().st_mtime_ns == before
    assert not (out / "parts").exists()


@pytest.mark.ray
def test_an_evaluation_that_was_stopped_goes_on_from_its_parts_with_the_same_scores(
    ray_engine: None, checkpoint: str, corpus: str, store: str, tmp_path: Path
) -> None:
    """The first part was measured in another process, whose last digit says that it is not measured again."""
    resolved = plan(checkpoint, corpus, "known-answer", tmp_path / "out", 10)
    write_whole(str(tmp_path / "out" / "evaluation.json"), json.dumps(resolved.settings).encode())
    write_whole(str(tmp_path / "out" / "pairs.parquet"), to_parquet(resolved.pairs))
    first, second = parts.split(10)
    (task,) = part_tasks(resolved.key, {0: first}, 8, "")
    assert scoring(resolved, 1, "cpu")(task) == {"pairs": 8}
    uri = parts.part_uri(resolved.out, 0)
    table = parts.read_part(uri)
    marked = table.set_column(table.column_names.index("psnr"), "psnr", pa.array([100.0] * 8))
    pq.write_table(marked, uri)
    document = evaluate(resolved, log_file=tmp_path / "log", tracking_uri=store)
    results = read_results(resolved.out)
    assert [row["psnr"] == 100 for row in results] == [True] * len(first) + [False] * len(second)
    assert document["scores"]["psnr"] == pytest.approx(np.mean([row["psnr"] for row in results]), rel=1e-12)
    # What was not marked is, to the last digit, what all of it measured at once gives.
    at_once = PairScorer(resolved)(resolved.pairs[8:], [False] * 2)
    assert [row["told_psnr"] for row in results[8:]] == [one.measured["told_psnr"]["told_psnr"] for one in at_once]


@pytest.mark.ray
def test_a_protocol_and_a_metric_of_another_module_score_end_to_end(
    ray_engine: None, checkpoint: str, corpus: str, store: str, tmp_path: Path
) -> None:
    """One file that nothing of ours names, found by the workers by its path."""
    resolved = plan(checkpoint, corpus, "tests.pipelines.evaluation.mirrored:MIRRORED", tmp_path / "out", 2)
    document = evaluate(resolved, log_file=tmp_path / "log", tracking_uri=store)
    assert (document["protocol"], document["samples"]) == ("mirrored", 2)
    means = {f"{name}{end}" for name in ("psnr", "mirror_error") for end in ("", LOWER, UPPER)}
    assert document["scores"].keys() == {*means, "known_answer"}
    assert document["reasons"] == {
        "known_answer": "known_answer needs other_truth, determined, which pairs of mirrored do not have"
    }
    for row in read_results(str(tmp_path / "out")):
        result, truth = (decode_png(row[name]).astype(float) / 255 for name in ("result_png", "truth_png"))
        assert row["mirror_error"] == pytest.approx(np.abs(result - truth[:, ::-1]).mean(), abs=1e-5)


@pytest.mark.ray
@pytest.mark.parametrize(
    ("tail", "hashed", "words"),
    [
        (b"\0\1\2\3", False, "damaged, its sha256"),
        (b"\0\0\xc0\x7f", True, "is not finite"),  # a NaN that a training had written
    ],
    ids=["damaged", "not finite"],
)
def test_a_worker_that_cannot_start_is_reported_in_one_line_and_fails_the_run(
    ray_engine: None, checkpoint: str, corpus: str, store: str, tmp_path: Path, tail: bytes, hashed: bool, words: str
) -> None:
    damaged, out = tmp_path / "damaged", tmp_path / "out"
    shutil.copytree(checkpoint, damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + tail)
    if hashed:
        config = json.loads((damaged / "config.json").read_text())
        (damaged / "config.json").write_text(json.dumps(config | {"weights_sha256": sha256(weights)}))
    with pytest.raises(PipelineError, match=words) as failed:
        evaluate(plan(str(damaged), corpus, "self", out, 1), log_file=tmp_path / "log", tracking_uri=store)
    assert "\n" not in str(failed.value)
    assert not (out / "scores.json").exists()


def test_an_output_of_other_settings_or_of_something_else_is_refused(
    checkpoint: str, corpus: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    begun = plan(checkpoint, corpus, "self", out, 2)
    assert finished(begun) is None
    write_whole(str(out / "evaluation.json"), json.dumps(begun.settings).encode())
    assert finished(begun) is None, "begun, and not whole"
    with pytest.raises(PipelineError, match=r"of other settings \(pairing: \w+ -> \w+; pairs: 2 -> 3\); choose"):
        evaluate(plan(checkpoint, corpus, "self", out, 3), log_file=tmp_path / "log")
    steps = replace(begun, sampling=replace(QUICK, steps=3))
    with pytest.raises(PipelineError, match=r"\(sampling.steps: 2 -> 3\)"):
        evaluate(steps, log_file=tmp_path / "log")
    for name in ("lineage.json", "scores.json"):
        other = tmp_path / name
        write_whole(str(other / name), b"{}")
        with pytest.raises(PipelineError, match="holds another result; choose another --out"):
            evaluate(replace(begun, out=str(other)), log_file=tmp_path / "log")
    assert not (tmp_path / "log").exists(), "no engine was started"
