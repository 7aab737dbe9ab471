"""Lab against published colour values, OpenCV and symmetry."""

import cv2
import numpy as np
import pytest
import torch

from eval.metrics.color import lab_distance, rgb_to_lab


def flat(*rgb: float) -> torch.Tensor:
    return torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 4, 4)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 0, 0), (53.2408, 80.0925, 67.2032)),
        ((0, 1, 0), (87.7347, -86.1827, 83.1793)),
        ((0, 0, 1), (32.2970, 79.1875, -107.8602)),
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_primaries_have_their_published_lab_values(rgb: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    assert rgb_to_lab(flat(*map(float, rgb)))[0, :, 0, 0].tolist() == pytest.approx(lab, abs=0.02)


def test_lab_agrees_with_opencv_up_to_its_lookup_table() -> None:
    rgb = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    ours = rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab), atol=0.4, rtol=0)


def test_greys_have_no_colour() -> None:
    greys = torch.linspace(0, 1, 256).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert rgb_to_lab(greys)[:, 1:].abs().max() < 1e-3


def test_distance_of_black_and_white_is_one_hundred() -> None:
    assert lab_distance(flat(0.0, 0.0, 0.0), flat(1.0, 1.0, 1.0)).item() == pytest.approx(100, abs=1e-3)


def test_distance_is_the_mean_over_the_masked_pixels() -> None:
    first = torch.zeros(2, 3, 4, 4)
    second = torch.zeros(2, 3, 4, 4)
    second[:, :, :2] = 1.0
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, :, 0] = True
    distance = lab_distance(first, second, mask)
    assert distance[0].item() == pytest.approx(50, abs=1e-3)
    assert distance[1].isnan()
