"""Arms of equal length, and their comparison on numbers whose answer is known."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from benchmarks.learning.__main__ import ARMS, same_evaluation, stages
from benchmarks.learning.table import FRECHET, Arm, compare, table
from eval.metrics.sets.frechet import FRECHET_DISTANCE
from eval.protocols.pairing import Pair
from model.checkpoint import CheckpointMetadata
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.evaluation.plan import EvaluatePlan
from pipelines.recipes.stage_recipe import StageRecipe

PAIRS = 400


def rates(recipe: StageRecipe) -> tuple[object, ...]:
    """What must not differ between arms."""
    length, optimizer = recipe.length, recipe.optimizer
    return (
        length.batch_size,
        optimizer.learning_rate,
        optimizer.warmup_images,
        recipe.samples.width,
        recipe.method.prediction_type,
    )


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_sees_as_many_images_at_the_same_rate_and_batch(arm: str) -> None:
    recipes = stages(arm, images=16_000, refine_share=2 / 7, seed=3)
    assert sum(recipe.length.images for recipe in recipes) == 16_000
    assert all(recipe.length.images % recipe.length.batch_size == 0 for recipe in recipes)
    assert [recipe.optimizer.decay_images for recipe in recipes] == [0] * (len(recipes) - 1) + [4_000]
    (first,) = {rates(recipe) for recipe in recipes}
    (other,) = {rates(recipe) for recipe in stages("noisy", 8, 0.5, 0)}
    assert first == other


def test_the_arms_are_those_of_the_papers_ablation() -> None:
    drop, noisy, proposed = (stages(arm, 5_600, 2 / 7, 0) for arm in ARMS)
    assert [(r.method.noisy_reference, r.method.reference_drop) for r in drop] == [(False, 0.5)]
    assert [(r.method.noisy_reference, r.method.reference_drop) for r in noisy] == [(True, 0.1)]
    assert [(r.stage, r.length.images, r.method.noisy_reference, r.method.reference_drop) for r in proposed] == [
        ("v1.noisy", 4_000, True, 0.1),
        ("v1.refine", 1_600, False, 0.5),
    ]


def test_scores_are_read_back_only_for_the_same_evaluation() -> None:
    metadata = CheckpointMetadata(
        stage="v1.noisy", size="tiny", codec="tiny", image_encoder="tiny", code_version="abc", weights_sha256="f00"
    )
    sampling = SamplingSettings(steps=3)
    plan = EvaluatePlan(
        protocol="self",
        metrics=("psnr",),
        checkpoint="c",
        metadata=metadata,
        width=64,
        height=64,
        corpus="corpus",
        snapshot=1,
        digest="d1",
        columns=(),
        out="out",
        pairs=(Pair("a", "b", 0),),
        sampling=sampling,
        seed=5,
    )
    saved = {"checkpoint_weights": "f00", "corpus_digest": "d1", "samples": 1, "seed": 5}
    saved["sampling"] = json.loads(json.dumps(asdict(sampling)))
    assert same_evaluation(plan, saved)
    assert not same_evaluation(replace(plan, sampling=replace(sampling, guidance_scale=3.0)), saved)
    assert not same_evaluation(replace(plan, metadata=replace(metadata, weights_sha256="bad")), saved)
    assert not same_evaluation(replace(plan, seed=6), saved)
    assert not same_evaluation(replace(plan, metadata=replace(metadata, ema_sha256="a5e"), ema=True), saved)


def arm(name: str, better: float) -> Arm:
    """Scores of an arm that is `better` than zero in everything, on pairs that differ far more than arms do."""
    rng = np.random.default_rng(5)
    quality, real = rng.normal(12, 5, PAIRS), rng.normal(size=(PAIRS, 8))
    made = real + rng.normal(size=real.shape) * 0.1 + (1 - better)
    leaks = [float("nan") if pair % 7 == 0 else 5 - better for pair in range(PAIRS)]
    known: list[dict[str, Any]] = [
        {"nearer": float(pair % 10 > 2), "psnr": float(quality[pair] + better), "layout_leak": leaks[pair]}
        for pair in range(PAIRS)
    ]
    scores = {"known_answer_share": 0.7, "known_answer_share_lower95": 0.65}
    return Arm(
        name,
        1.0,
        {
            "known-answer": {"scores": scores, "rows": known},
            "reference dropped": {"scores": {"known_answer_share": 0.5}, "rows": [{"nearer": 0.5}] * PAIRS},
            "random-reference": {
                "scores": {},
                "rows": [],
                "features": dict(zip(FRECHET_DISTANCE.vectors, (made, real), strict=True)),
            },
        },
    )


def test_paired_intervals_see_what_the_spread_of_pictures_would_hide() -> None:
    result = compare([arm("first", 0.0), arm("second", 0.5)])
    gain = result["differences"]["second less first"]["PSNR, known answer, dB"]
    assert gain["value"] == pytest.approx(0.5)
    assert gain["bounds"] == pytest.approx((0.5, 0.5))
    low, high = result["arms"]["first"]["PSNR, known answer, dB"]["bounds"]
    assert high - low > 0.8
    frechet = result["differences"]["second less first"][FRECHET]
    assert frechet["value"] == pytest.approx(8 * (0.5**2 - 1), abs=0.3)  # 8 dimensions moved by 1, then by a half
    assert frechet["bounds"][1] < 0
    assert result["differences"]["second less first"]["layout leak, Lab"]["pairs"] == PAIRS - len(range(0, PAIRS, 7))


def test_the_table_names_every_arm_and_says_whether_the_bar_is_met() -> None:
    result = compare([arm("first", 0.0), arm("second", 0.5)])
    text = table({"arguments": {"images": 7_000, "workers": 2}, "rows": {"train": 10}, **result})
    assert "bar of second: met" in text
    assert "| arm | first | second |" in text
    assert "| PSNR, known answer, dB (400 pairs) | +0.500 (+0.500 to +0.500) |" in text
