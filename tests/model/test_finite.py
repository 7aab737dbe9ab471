"""A tensor is finite where each of its numbers is, however large their sum; what is not finite is named."""

import pytest
import torch

from model.errors import ModelError
from model.finite import check_pictures, check_weights, is_finite


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_one_number_is_enough(dtype: torch.dtype, wrong: float) -> None:
    tensor = torch.zeros(3, 5, dtype=dtype)
    assert is_finite(tensor)
    tensor[2, 1] = wrong
    assert not is_finite(tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_numbers_whose_sum_overflows_are_finite(dtype: torch.dtype) -> None:
    assert is_finite(torch.full((64,), torch.finfo(dtype).max, dtype=dtype))


def test_infinities_that_cancel_are_found() -> None:
    assert not is_finite(torch.tensor([float("inf"), -float("inf")]))


def test_whole_numbers_and_nothing_at_all_are_finite() -> None:
    assert is_finite(torch.arange(4))
    assert is_finite(torch.zeros(0))


def test_the_tensor_and_its_source_are_named() -> None:
    weights = {"a": torch.zeros(3), "b.c": torch.tensor([0.0, float("nan")])}
    with pytest.raises(ModelError, match=r"somewhere: b\.c is not finite \(1 of its 2 numbers"):
        check_weights(weights, "somewhere")


def test_a_picture_that_overflowed_says_what_to_try() -> None:
    assert check_pictures(torch.ones(3, 2, 2)).shape == (3, 2, 2)
    with pytest.raises(ModelError, match=r"float16 overflowed.*--precision"):
        check_pictures(torch.full((3, 2, 2), float("inf"), dtype=torch.float16))
