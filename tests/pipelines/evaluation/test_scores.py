"""What an evaluation reports, for every protocol: each of its metrics by name, with a number or the reason."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.evaluation.made_up_inception import published_inception
from dataprep.pictures.decode import decode_png
from eval.errors import EvalError
from eval.metrics.metric import ALWAYS_GIVEN, LOWER, SMALL, UPPER
from eval.metrics.sets.frechet import Frechet, FrechetStatistics
from eval.metrics.table import METRICS, metric_of
from eval.protocols.table import PROTOCOLS
from model.checkpoint import load_checkpoint, read_metadata
from model.diffusion.sampling_settings import SamplingSettings
from model.feature_networks.inception import features as inception_features
from model.feature_networks.lpips import Lpips, alex_distance
from model.feature_networks.table import EFFICIENTNET_LITE0
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.evaluation.parts import measured, part_table
from pipelines.evaluation.plan import EvaluatePlan, plan_evaluation
from pipelines.evaluation.sampling import evaluation_sampling
from pipelines.evaluation.scores import collect, describe, score
from pipelines.evaluation.scoring.pair_scorer import PairScorer, unit
from pipelines.weights.intake import add
from pipelines.weights.store import load_network
from tests.pipelines.training.untrained import write_checkpoint, write_parted_checkpoint

PAIRS = 4
OURS = [name for name, protocol in PROTOCOLS.items() if not protocol.settings and name != "user-pairs"]


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
    scores = score(resolved, collect(resolved, [measured(part_table(resolved.pairs, results))]))
    styles = Counter(result.style for result in results)
    saved: dict[str, Any] = json.loads(json.dumps(describe(resolved, scores, styles), allow_nan=False))
    return saved


@pytest.mark.parametrize("protocol", OURS)
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


@pytest.mark.parametrize("protocol", OURS)
def test_every_metric_can_be_asked_of_every_protocol_and_is_never_left_out(
    corpus: str, grouped: str, checkpoint: str, protocol: str
) -> None:
    offered = [metric for metric in METRICS.values() if set(metric.networks) <= {EFFICIENTNET_LITE0}]
    names = tuple(metric.name for metric in offered)
    reported = document(plan(checkpoint, grouped if protocol == "same-group" else corpus, protocol, names))
    for metric in offered:
        assert [name for name in reported["scores"] if metric_of(name) is metric], metric.name
        if set(metric.needs) - {*ALWAYS_GIVEN, *PROTOCOLS[protocol].gives}:
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
    assert "4 pairs; 321 are needed" in reported["reasons"]["fid_efficientnet_lite0_320"]
    small = document(plan(checkpoint, corpus, "random-reference", small_sets=True))["scores"]
    name = "fid_efficientnet_lite0_320" + SMALL
    assert small[name + LOWER] < small[name] < small[name + UPPER]
    assert "fid_efficientnet_lite0_320" not in small


def test_two_metrics_with_one_name_are_refused(corpus: str, checkpoint: str) -> None:
    with pytest.raises(EvalError, match="two metrics report a score psnr"):
        document(plan(checkpoint, corpus, "self", ("psnr", "psnr")))


def test_a_score_of_the_moving_average_says_so(corpus: str, tmp_path: Path) -> None:
    average = write_checkpoint(tmp_path / "average", seed=1)
    both = write_checkpoint(tmp_path / "both", ema=load_checkpoint(Path(average))[0].state_dict())
    reported, expected = document(plan(both, corpus, "self", ema=True)), document(plan(average, corpus, "self"))
    assert (reported["ema"], reported["checkpoint_weights"]) == (True, read_metadata(Path(both)).ema_sha256)
    assert reported["scores"]["psnr"] == pytest.approx(expected["scores"]["psnr"], rel=1e-3)


def test_a_published_protocol_has_its_settings_unless_others_are_given(
    corpus: str, checkpoint: str, empty_store: None
) -> None:
    published = plan(checkpoint, corpus, "table2-002")
    assert (published.width, published.height, published.resize) == (512, 512, "squash")
    sampling = evaluation_sampling(checkpoint, "table2-002", {"steps": 3})
    assert (sampling.steps, sampling.sampler, sampling.guidance_scale) == (3, "dpmpp_2m_karras", 5.0)
    assert (published.settings["resize"], published.settings["size"]) == ("squash", "512x512")
    other = plan(checkpoint, corpus, "table2-002", size=(64, 64), resize="cover")
    assert (other.width, other.height, other.resize) == (64, 64, "cover")
    assert len(other.pairs) == PAIRS


def test_a_published_score_whose_network_is_absent_is_not_scored_and_says_how_to_get_it(
    corpus: str, checkpoint: str, empty_store: None
) -> None:
    """Unless it is asked for by name: then nothing is coloured in vain."""
    reported = document(plan(checkpoint, corpus, "table-I-000-deformed", size=(64, 64)))
    assert reported["scores"]["psnr"] > 0
    assert reported["scores"]["clip_ground_truth"] is None
    assert "irodori weights add ViT-H-14 hf://laion/" in reported["reasons"]["clip_ground_truth"]
    with pytest.raises(PipelineError, match=r"the weights inception_2015 are not in .*: irodori weights add"):
        plan(checkpoint, corpus, "self", ("psnr", "fid"))


@pytest.fixture
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(tmp_path / "weights"))


def test_the_style_is_chosen_or_the_first_of_each_row_and_always_recorded(
    corpus: str, checkpoint: str, tmp_path: Path
) -> None:
    own = document(plan(checkpoint, corpus, "self"))
    assert own["styles"] == {"drawn": PAIRS}
    chosen = plan(checkpoint, corpus, "self", style="xdog")
    assert document(chosen)["styles"] == {"xdog": PAIRS}
    assert chosen.settings["styles"] == "xdog"
    with pytest.raises(SettingsError, match="no sketches of the style 'xdg': did you mean xdog"):
        plan(checkpoint, corpus, "self", style="xdg")


def test_networks_of_the_store_score_what_they_see_and_features_are_computed_once(
    corpus: str, checkpoint: str, scoring_store: Path
) -> None:
    names = ("fid", "kid", "lpips_alex", "seconds", "memory_mib", "psnr")
    resolved = plan(checkpoint, corpus, "deformed-reference", names, small_sets=True)
    assert resolved.vectors == ("result@inception_2048", "original@inception_2048")
    results = PairScorer(resolved)(resolved.pairs, [True] * PAIRS)
    table = part_table(resolved.pairs, results)
    scores = {item.name: item for item in score(resolved, collect(resolved, [measured(table)]))}
    assert scores.keys() == {"fid_small_set", "kid_small_set", "lpips_alex", "seconds", "memory_mib", "psnr"}
    assert all(item.interval is not None for item in scores.values())
    assert all(item.value is not None and item.value > 0 for item in scores.values() if item.name != "kid_small_set")

    # by hand, with what the networks say of the pictures that are shown
    shown = {
        name: unit([decode_png(result.pictures[f"{name}_png"]) for result in results]) for name in ("result", "truth")
    }
    inception = load_network("inception_2015", resolved.networks["inception_2015"], resolved.store)
    made, real = (inception_features(inception, pictures).double().numpy() for pictures in shown.values())
    sums = [FrechetStatistics(2048), FrechetStatistics(2048)]
    for statistics, features in zip(sums, (made, real), strict=True):
        statistics.update(features)
    assert scores["fid_small_set"].value == pytest.approx(Frechet(*sums).value, rel=1e-3)
    lpips = load_network("lpips", resolved.networks["lpips"], resolved.store)
    distance = alex_distance(lpips, shown["result"], shown["truth"]).mean()
    assert scores["lpips_alex"].value == pytest.approx(float(distance), rel=1e-4)
    (identity,) = (name for name in resolved.feature_networks if name.startswith("inception_2048"))
    assert identity == f"inception_2048@{resolved.networks['inception_2015'][:12]}"


@pytest.fixture(scope="module")
def scoring_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A weight store with made-up Inception and LPIPS weights."""
    folder = tmp_path_factory.mktemp("scoring-store")
    torch.save(published_inception(folder).state_dict(), folder / "inception.pth")
    torch.manual_seed(0)
    lpips = {key: value.abs() if "heads" in key else value for key, value in Lpips().state_dict().items()}
    torch.save(lpips, folder / "lpips.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IRODORI_WEIGHTS", str(folder / "store"))
        record = add("inception_2015", str(folder / "inception.pth"), accept_other_sha256=True)
        assert record.known_sha256 is False
        add("lpips", str(folder / "lpips.pth"))
        yield folder


def test_measures_of_shift_are_reported_with_a_map_of_each(corpus: str, checkpoint: str) -> None:
    """The denoiser of one family is looked into; the network without a reference is asked with the same noise."""
    names = ("gram_denoiser", "leakage", "structure_chamfer", "structure_f")
    resolved = plan(checkpoint, corpus, "random-reference", names)
    assert "mask" in resolved.columns
    results = PairScorer(resolved)(resolved.pairs, [True, False, False, False])
    scores = {
        item.name: item for item in score(resolved, collect(resolved, [measured(part_table(resolved.pairs, results))]))
    }
    assert scores.keys() == {"gram_denoiser_v1_up1", "leakage", "structure_chamfer", "structure_f"}
    moved = scores["gram_denoiser_v1_up1"].value
    assert moved is not None
    assert moved > 0
    for name in ("gram_denoiser", "leakage", "structure_chamfer"):
        assert decode_png(results[0].pictures[f"{name}_map_png"]).shape == (64, 64, 3)
    assert not results[1].pictures


@pytest.mark.parametrize("sampling", [{}, {"sketch_guidance_scale": 2.0}])
def test_the_denoiser_of_a_network_that_parts_figure_from_ground_is_looked_into(
    corpus: str, parted: str, sampling: dict[str, Any]
) -> None:
    """It reads masks in its usual mode; guidance of any kind makes more rows than one, of which one is looked at."""
    resolved = plan(parted, corpus, "random-reference", ("gram_denoiser",))
    resolved = replace(resolved, sampling=replace(resolved.sampling, **sampling))
    results = PairScorer(resolved)(resolved.pairs[:2], [False] * 2)
    together = [result.measured["gram_denoiser"]["gram_denoiser_v15_up1"] for result in results]
    alone = [
        PairScorer(resolved)([pair], [False])[0].measured["gram_denoiser"]["gram_denoiser_v15_up1"]
        for pair in resolved.pairs[:2]
    ]
    assert together == pytest.approx(alone, rel=1e-3)
    assert together[0] != together[1]


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_parted_checkpoint(tmp_path_factory.mktemp("shift-parted") / "checkpoint")
