"""What an evaluation reports, for every protocol: each of its metrics by name, with a number or the reason."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eval.errors import EvalError
from eval.metrics.metric import LOWER, UPPER
from eval.metrics.table import METRICS, metric_of
from eval.protocols.table import PROTOCOLS
from model.checkpoint import load_checkpoint, read_metadata
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.evaluation.pair_scorer import PairScorer
from pipelines.evaluation.parts import measured, part_table
from pipelines.evaluation.plan import EvaluatePlan, plan_evaluation
from pipelines.evaluation.scores import describe, score
from tests.pipelines.training.untrained import write_checkpoint

PAIRS = 4


def plan(
    checkpoint: str, corpus: str, protocol: str, metrics: Sequence[str] | None = None, **choices: Any
) -> EvaluatePlan:
    sampling = SamplingSettings(steps=1)
    return plan_evaluation(
        checkpoint, corpus, protocol, "nowhere", sampling=sampling, metrics=metrics, limit=PAIRS, **choices
    )


def document(resolved: EvaluatePlan) -> dict[str, Any]:
    """What is reported, as scores.json holds it."""
    results = PairScorer(resolved)(resolved.pairs, [False] * len(resolved.pairs))
    scores = score(resolved, [measured(part_table(resolved.pairs, results))])
    saved: dict[str, Any] = json.loads(json.dumps(describe(resolved, scores), allow_nan=False))
    return saved


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_metric_of_a_protocol_is_reported_with_a_number_or_the_reason(
    corpus: str, grouped: str, checkpoint: str, protocol: str
) -> None:
    reported = document(plan(checkpoint, grouped if protocol == "same-group" else corpus, protocol))
    belonging = {name: metric_of(name) for name in reported["scores"] if not name.endswith((LOWER, UPPER))}
    assert {metric.name for metric in belonging.values() if metric} == set(PROTOCOLS[protocol].metrics)
    assert {name for name, value in reported["scores"].items() if value is None} == set(reported["reasons"])
    assert all(0 <= count <= PAIRS for count in reported["scored_pairs"].values())
    for name, count in reported["scored_pairs"].items():
        assert count > 0 or name in reported["reasons"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_metric_can_be_asked_of_every_protocol_and_is_never_left_out(
    corpus: str, grouped: str, checkpoint: str, protocol: str
) -> None:
    reported = document(plan(checkpoint, grouped if protocol == "same-group" else corpus, protocol, tuple(METRICS)))
    for metric in METRICS.values():
        names = [name for name in reported["scores"] if metric_of(name) is metric]
        assert names, metric.name
        if set(metric.needs) - {"original", *PROTOCOLS[protocol].gives}:
            assert f"which pairs of {protocol} do not have" in reported["reasons"][metric.name]


def test_the_structure_of_known_answers_is_reported_too(corpus: str, checkpoint: str) -> None:
    reported = document(plan(checkpoint, corpus, "known-answer"))
    assert 0 <= reported["scores"]["ms_ssim_3scales"] <= 1


def test_pictures_too_small_for_a_metric_are_scored_by_the_others(corpus: str, tmp_path: Path) -> None:
    small = write_checkpoint(tmp_path / "small", 40, 40)
    reported = document(plan(small, corpus, "self"))
    assert reported["scores"]["psnr"] > 0
    assert reported["scores"]["ms_ssim"] is None
    assert "at least 44 pixels" in reported["reasons"]["ms_ssim"]


def test_a_score_names_its_feature_network_where_it_has_one(corpus: str, checkpoint: str) -> None:
    assert document(plan(checkpoint, corpus, "self"))["feature_network"] is None
    reported = document(plan(checkpoint, corpus, "random-reference"))
    assert reported["feature_network"] == "efficientnet_lite0_320@579344248a93"
    assert "321 are needed" in reported["reasons"]["fid_efficientnet_lite0_320"]


def test_two_metrics_with_one_name_are_refused(corpus: str, checkpoint: str) -> None:
    with pytest.raises(EvalError, match="two metrics report a score psnr"):
        document(plan(checkpoint, corpus, "self", ("psnr", "psnr")))


def test_a_score_of_the_moving_average_says_so(corpus: str, tmp_path: Path) -> None:
    average = write_checkpoint(tmp_path / "average", seed=1)
    both = write_checkpoint(tmp_path / "both", ema=load_checkpoint(Path(average))[0].state_dict())
    reported, expected = document(plan(both, corpus, "self", ema=True)), document(plan(average, corpus, "self"))
    assert (reported["ema"], reported["checkpoint_weights"]) == (True, read_metadata(Path(both)).ema_sha256)
    assert reported["scores"]["psnr"] == pytest.approx(expected["scores"]["psnr"], rel=1e-3)
