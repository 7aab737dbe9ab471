"""PSNR, whole and by region, against hand-made numbers and torchmetrics."""

from math import log10

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from eval.metrics.psnr import REGION_PSNR, TOLD_PSNR, psnr, region_psnr, told_psnr


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 180, 176, generator=generator)
    return (truth + 0.2 * torch.rand(truth.shape, generator=generator)).clamp(0, 1), truth


def test_psnr_of_a_constant_error_is_minus_twenty_log_of_it() -> None:
    truth = torch.full((2, 3, 8, 8), 0.5)
    error = torch.tensor([0.1, 0.25]).view(2, 1, 1, 1)
    assert psnr(truth + error, truth).tolist() == pytest.approx([-20 * log10(0.1), -20 * log10(0.25)], rel=1e-5)


def test_psnr_agrees_with_torchmetrics(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = peak_signal_noise_ratio(*pictures, data_range=1.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(*pictures), expected)


def test_identical_pictures_have_infinite_psnr(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert psnr(pictures[1], pictures[1]).tolist() == [float("inf")] * 2


def test_region_psnr_scores_each_region_apart_and_no_line_pixel() -> None:
    truth = torch.zeros(1, 3, 2, 4)
    result = truth.clone()
    result[..., 0] = 0.1  # hair
    result[..., 1] = 0.5  # skin
    result[..., 3] = 1.0  # line
    classes = torch.tensor([[0, 1, 2, 255]] * 2, dtype=torch.uint8)[None]
    scores = region_psnr(result, truth, classes, ("hair", "skin", "clothes", "eyes"))
    assert scores["hair"].item() == pytest.approx(20, abs=1e-4)
    assert scores["skin"].item() == pytest.approx(-20 * log10(0.5), abs=1e-4)
    assert scores["clothes"].item() == float("inf")
    assert scores["eyes"].isnan().all()


def test_region_psnr_over_one_region_is_psnr(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    classes = torch.zeros(2, 180, 176, dtype=torch.uint8)
    torch.testing.assert_close(region_psnr(*pictures, classes, ("all",))["all"], psnr(*pictures))


def test_a_class_without_a_name_is_refused(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="class 7 has no name"):
        region_psnr(*pictures, torch.full((2, 180, 176), 7, dtype=torch.uint8), ("hair",))


def test_the_score_of_a_region_is_the_mean_over_the_pairs_that_show_it() -> None:
    hair = np.array([20.0, np.nan, 30.0, 25.0])
    scores = REGION_PSNR.summarize({"psnr_hair": hair, "psnr_eyes": np.full(4, np.nan)})
    assert [(score.name, score.value, score.pairs) for score in scores] == [
        ("psnr_hair", pytest.approx(25.0), 3),
        ("psnr_eyes", None, 0),
    ]
    assert scores[1].reason == "no scored picture shows this region"


def test_told_psnr_leaves_out_what_nobody_could_know(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    result, truth = pictures
    told = torch.ones(result.shape[0], *result.shape[2:], dtype=torch.bool)
    torch.testing.assert_close(told_psnr(result, truth, told), psnr(result, truth))
    told[:, 40:] = False
    spoiled = result.clone()
    spoiled[..., 40:, :] = 1 - truth[..., 40:, :]
    torch.testing.assert_close(told_psnr(spoiled, truth, told), psnr(result[..., :40, :], truth[..., :40, :]))
    assert (psnr(spoiled, truth) < told_psnr(spoiled, truth, told)).all()
    assert told_psnr(result, truth, torch.zeros_like(told)).isnan().all()


def test_a_pair_that_tells_nothing_has_no_part_in_the_mean() -> None:
    (score,) = TOLD_PSNR.summarize({"told_psnr": np.array([20.0, 22.0])})
    assert (score.name, score.value) == ("told_psnr", 21.0)
