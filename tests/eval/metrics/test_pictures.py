"""PSNR, regions and MS-SSIM against hand-made numbers and torchmetrics."""

from math import exp, log10

import pytest
import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from eval.errors import EvalError
from eval.metrics.pictures import SCALE_WEIGHTS, ms_ssim, psnr, region_psnr


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


def test_identical_pictures_have_infinite_psnr_and_ms_ssim_of_one(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    truth = pictures[1]
    assert psnr(truth, truth).tolist() == [float("inf")] * 2
    assert ms_ssim(truth, truth)[1].tolist() == pytest.approx([1, 1])


def test_pictures_outside_zero_to_one_or_of_two_shapes_are_refused(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        psnr(pictures[0] * 2 - 1, pictures[1])
    with pytest.raises(ValueError, match="shape"):
        psnr(pictures[0][:1], pictures[1])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        psnr(torch.full_like(pictures[0], torch.nan), pictures[1])


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


def test_ms_ssim_at_176_pixels_is_the_published_metric(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    name, values = ms_ssim(*pictures)
    assert name == "ms_ssim"
    torch.testing.assert_close(
        values, multiscale_structural_similarity_index_measure(*pictures, data_range=1.0, reduction="none")
    )


def test_a_smaller_picture_uses_fewer_scales_under_another_name(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    small = [batch[..., :128, :128] for batch in pictures]
    assert ms_ssim(*small)[0] == "ms_ssim_4scales"
    assert ms_ssim(*[batch[..., :96] for batch in small])[0] == "ms_ssim_3scales"
    with pytest.raises(EvalError, match="44 pixels"):
        ms_ssim(*[batch[..., :43] for batch in small])


def test_four_scale_ms_ssim_is_the_weighted_product_of_its_scales(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    result, truth = (batch[..., :128, :128] for batch in pictures)
    _, values = ms_ssim(result, truth)
    weights = [w / sum(SCALE_WEIGHTS[:4]) for w in SCALE_WEIGHTS[:4]]
    logs = torch.zeros(2)
    for scale, weight in enumerate(weights):
        similarity, contrast = structural_similarity_index_measure(
            result, truth, data_range=1.0, reduction="none", return_contrast_sensitivity=True
        )
        logs += weight * torch.log(similarity if scale == 3 else contrast)
        result, truth = (torch.nn.functional.avg_pool2d(batch, 2) for batch in (result, truth))
    assert values.tolist() == pytest.approx([exp(value) for value in logs.tolist()], rel=1e-5)
