"""What every metric asks of the pictures it is given."""

import pytest
import torch

from eval.metrics.psnr import psnr


def test_pictures_outside_zero_to_one_or_of_two_shapes_are_refused() -> None:
    truth = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        psnr(truth * 2 - 1, truth)
    with pytest.raises(ValueError, match="shape"):
        psnr(truth[:1], truth)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        psnr(torch.full_like(truth, torch.nan), truth)
