"""ZeRO-2 steps as plain AdamW does on the whole batch, on any number of ranks, and goes on on another number.

Real processes with gloo, without a compiler in reach. The truth is torch's own AdamW in this process.
"""

import math
from pathlib import Path

import pytest
import torch

from tests.pipelines.training.engines.processes import (
    HALF,
    STEPS,
    Ranks,
    State,
    alone_in_torch,
    check_same,
    norms_of_an_infinite_loss,
    train,
)

ONE, TWO = Ranks(count=1, alone=True), Ranks(count=2, alone=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zero")


@pytest.fixture(scope="module")
def two_half_way(folder: Path) -> State:
    return train(folder, TWO, range(HALF))


def test_two_ranks_step_as_plain_adamw_on_the_whole_batch(two_half_way: State) -> None:
    check_same(two_half_way, alone_in_torch(HALF))


def test_a_run_of_two_ranks_goes_on_on_one_as_if_undisturbed(folder: Path, two_half_way: State) -> None:
    check_same(train(folder, ONE, range(HALF, STEPS), two_half_way), alone_in_torch(STEPS))


@pytest.mark.seconds
def test_every_rank_sees_that_the_gradient_of_one_is_not_finite(folder: Path) -> None:
    assert not any(map(math.isfinite, norms_of_an_infinite_loss(folder, TWO)))


@pytest.mark.slow
def test_a_run_of_one_rank_goes_on_on_two_as_if_undisturbed(folder: Path) -> None:
    half = train(folder, ONE, range(HALF))
    check_same(half, alone_in_torch(HALF))
    check_same(train(folder, TWO, range(HALF, STEPS), half), alone_in_torch(STEPS))


@pytest.mark.slow
def test_bf16_keeps_fp32_masters_and_goes_on_from_them(folder: Path) -> None:
    one, two = (Ranks(count=count, alone=True, bf16=True) for count in (1, 2))
    whole = train(folder, two, range(STEPS))
    half = train(folder, two, range(HALF))
    resumed = train(folder, one, range(HALF, STEPS), half)
    assert all(weight.dtype == torch.float32 for weight in half.weights.values())
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in half.weights.values())
    assert any(not torch.equal(average, average.bfloat16().float()) for average in half.average.values())
    assert resumed.losses == pytest.approx(whole.losses[HALF:], rel=2e-2)
