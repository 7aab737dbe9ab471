"""MS-SSIM against torchmetrics and the product of its scales."""

from math import exp

import pytest
import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from eval.errors import EvalError
from eval.metrics.ms_ssim import SCALE_WEIGHTS, ms_ssim


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 180, 176, generator=generator)
    return (truth + 0.2 * torch.rand(truth.shape, generator=generator)).clamp(0, 1), truth


def test_identical_pictures_have_an_ms_ssim_of_one(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert ms_ssim(pictures[1], pictures[1])[1].tolist() == pytest.approx([1, 1])


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
