"""Every row of the table of metrics: what its scores are called, and whose a score is."""

from dataclasses import replace

import pytest

from eval.metrics.metric import Metric
from eval.metrics.table import METRICS, metric_of
from model.feature_networks.table import FEATURES


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_a_metric_describes_itself(metric: Metric) -> None:
    assert metric.meaning
    assert metric.title
    assert metric.source
    assert metric.needs or metric.vectors
    assert metric_of(metric.scores) is metric


@pytest.mark.parametrize(
    ("score", "metric"),
    [
        ("psnr", "psnr"),
        ("psnr_hair", "region_psnr"),
        ("region_psnr", "region_psnr"),
        ("ms_ssim", "ms_ssim"),
        ("ms_ssim_4scales", "ms_ssim"),
        ("known_answer_share_lower95", "known_answer"),
        ("layout_leak", "layout_leak"),
        ("fid_efficientnet_lite0_320", "fid_efficientnet_lite0_320"),
    ],
)
def test_a_saved_score_is_found_by_its_name(score: str, metric: str) -> None:
    found = metric_of(score)
    assert found is not None
    assert found.name == metric


def test_the_score_of_an_unknown_metric_has_none() -> None:
    assert metric_of("dreamsim") is None


def test_every_feature_network_of_a_metric_is_in_the_table_of_the_model() -> None:
    for metric in METRICS.values():
        assert set(metric.networks) <= set(FEATURES), metric.name
    asked = {network for metric in METRICS.values() for network in metric.networks}
    assert asked == set(FEATURES), "each is there for a metric"


def test_a_score_of_few_pairs_is_called_that() -> None:
    assert METRICS["fid"].title_of("fid_small_set") == "FID, too few pairs"
    assert metric_of("fid_small_set") is METRICS["fid"]
    assert metric_of("fid_efficientnet_lite0_320_small_set") is METRICS["fid_efficientnet_lite0_320"]


def test_a_region_stands_in_the_meaning_of_its_score() -> None:
    assert METRICS["region_psnr"].meaning_of("psnr_hair") == "the same, within hair"


def test_a_score_has_a_name_for_a_person_and_one_of_an_unnamed_metric_its_own() -> None:
    assert METRICS["region_psnr"].title_of("psnr_hair") == "PSNR within hair"
    assert replace(METRICS["psnr"], title="").title_of("psnr") == "psnr"
