"""SSIM against the formula, written out with scipy's Gaussian window, and against torchmetrics within the border."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import structural_similarity_index_measure

from eval.metrics.ssim import SSIM, WINDOW, ssim


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 40, 33, generator=generator, dtype=torch.float64)
    return (truth + 0.2 * torch.rand(truth.shape, generator=generator, dtype=torch.float64)).clamp(0, 1), truth


def by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, of one channel, over the pixels around which the window fits."""

    def local(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, sigma=1.5, radius=WINDOW // 2)

    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = local(x), local(y)
    var_x, var_y, cov = local(x * x) - mean_x**2, local(y * y) - mean_y**2, local(x * y) - mean_x * mean_y
    value = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    edge = WINDOW // 2
    return float(value[edge:-edge, edge:-edge].mean())


def test_ssim_is_the_formula_over_the_pixels_around_which_the_window_fits(
    pictures: tuple[torch.Tensor, torch.Tensor],
) -> None:
    values = ssim(*pictures)
    expected = [
        np.mean([by_hand(*(batch[index, channel].numpy() for batch in pictures)) for channel in range(3)])
        for index in range(2)
    ]
    assert values.tolist() == pytest.approx(expected, rel=1e-6)
    theirs = structural_similarity_index_measure(*pictures, data_range=1.0, reduction="none")
    torch.testing.assert_close(values, theirs, rtol=0, atol=2e-3, msg="which counts the mirrored border as well")


def test_identical_pictures_have_an_ssim_of_one_and_small_ones_are_refused(
    pictures: tuple[torch.Tensor, torch.Tensor],
) -> None:
    assert ssim(pictures[1], pictures[1]).tolist() == pytest.approx([1, 1])
    assert SSIM.refusal("self", ("truth",), 64, 10) == "ssim needs pictures of at least 11 pixels a side, not 64x10"
    assert not SSIM.refusal("self", ("truth",), 64, 11)
