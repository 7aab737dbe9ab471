"""A network that answers in one pass: what it made is checked before it is clamped into a picture."""

import pytest
import torch
from torch import nn

from model.colorist import DirectColorist
from model.errors import ModelError


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_picture_that_is_not_finite_is_an_error(value: float) -> None:
    network = nn.Linear(1, 1)
    colorist = DirectColorist(network, lambda sketch, _: torch.full_like(sketch, value))
    with pytest.raises(ModelError, match="is not finite"):
        colorist(torch.zeros(1, 3, 8, 8), None, [0])
