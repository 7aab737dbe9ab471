"""ZeRO-2 steps as plain AdamW does on the whole batch, on any number of ranks, and goes on on another number.

Real processes with gloo, without a compiler in reach. The truth is torch's own AdamW in this process.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from model.optimizer import OptimizerSettings
from pipelines.training.engines.start import start_engine

BATCH, STEPS, HALF = 8, 10, 5
DECAY = 0.6
ADAMW = OptimizerSettings(learning_rate=1e-2, weight_decay=0.01, gradient_clip=0.5)
Tensors = dict[str, torch.Tensor]


@dataclass
class State:
    """What rank 0 has after some steps."""

    losses: list[float]
    weights: Tensors
    optimizer: Tensors
    average: Tensors


def network() -> nn.Module:
    """Odd sizes, so that parameters straddle the ranks' slices; the first layer's bias is frozen."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(7, 33), nn.SiLU(), nn.Linear(33, 5))
    module[0].bias.requires_grad_(False)
    return module


def rate(step: int) -> float:
    return ADAMW.learning_rate * (step + 1) / STEPS


def batches() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(STEPS, BATCH, 7, generator=generator), 3 * torch.randn(STEPS, BATCH, 5, generator=generator)


def rank_main(rank: int, ranks: int, port: int, steps: range, start: State | None, out: str, bf16: bool) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK="0", PATH="")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    micro = BATCH // 4
    engine = start_engine(network(), micro_batch=micro, accumulation=4 // ranks, optimizer=ADAMW, bf16=bf16)
    if start is None:
        engine.start_average()
    else:
        engine.restore(start.weights, start.optimizer, start.average)
    inputs, targets = batches()
    share, losses = BATCH // ranks, []
    for step in steps:
        engine.set_learning_rate(rate(step))
        total = torch.zeros(())
        for first in range(rank * share, (rank + 1) * share, micro):
            x, y = inputs[step, first : first + micro], targets[step, first : first + micro]
            loss = (engine(x.bfloat16() if bf16 else x).float() - y).square().mean()
            engine.backward(loss)
            engine.step()
            total += loss.detach() * micro / BATCH
        engine.update_average(DECAY)
        dist.all_reduce(total)
        losses.append(total.item())
    state = State(losses, engine.masters(), engine.optimizer_state(), engine.averages())
    if rank == 0:
        torch.save(vars(state), out)
    dist.barrier()
    dist.destroy_process_group()


def train(folder: Path, ranks: int, steps: range, start: State | None = None, bf16: bool = False) -> State:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    out = folder / f"{ranks}-{steps.start}-{steps.stop}-{bf16}.pt"
    arguments = (ranks, port, steps, start, str(out), bf16)
    mp.spawn(rank_main, args=arguments, nprocs=ranks)  # type: ignore[attr-defined]  # torch does not list it as exported
    return State(**torch.load(out, weights_only=True))


def plain_adamw(steps: int) -> State:
    """The truth: torch alone, the whole batch at once."""
    module, (inputs, targets) = network(), batches()
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    adamw = torch.optim.AdamW(trained.values(), betas=(ADAMW.beta1, ADAMW.beta2), weight_decay=ADAMW.weight_decay)
    losses, average = [], {name: parameter.detach().clone() for name, parameter in trained.items()}
    for step in range(steps):
        adamw.param_groups[0]["lr"] = rate(step)
        loss = (module(inputs[step]) - targets[step]).square().mean()
        adamw.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained.values(), ADAMW.gradient_clip)
        adamw.step()
        average = {name: DECAY * kept + (1 - DECAY) * trained[name].detach() for name, kept in average.items()}
        losses.append(loss.item())
    states = {f"{name}/{key}": adamw.state[p][key] for name, p in trained.items() for key in ("exp_avg", "exp_avg_sq")}
    return State(losses, {name: p.detach() for name, p in trained.items()}, states, average)


def check_same(found: State, truth: State) -> None:
    """Losses to 1e-5, weights, their average and moments by name, and the number of steps."""
    assert found.losses == pytest.approx(truth.losses[-len(found.losses) :], rel=1e-5)
    assert found.weights.keys() == truth.weights.keys()
    for name, weight in truth.weights.items():
        torch.testing.assert_close(found.weights[name], weight, rtol=1e-5, atol=1e-6)
    assert found.average.keys() == truth.average.keys()
    for name, average in truth.average.items():
        torch.testing.assert_close(found.average[name], average, rtol=1e-5, atol=1e-6)
    assert found.optimizer.keys() == truth.optimizer.keys() | {"step"}
    for name, moment in truth.optimizer.items():
        torch.testing.assert_close(found.optimizer[name], moment, rtol=1e-4, atol=1e-7)
    assert found.optimizer["step"].item() == len(truth.losses)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zero")


@pytest.fixture(scope="module")
def two_half_way(folder: Path) -> State:
    return train(folder, 2, range(HALF))


def test_two_ranks_step_as_plain_adamw_on_the_whole_batch(two_half_way: State) -> None:
    check_same(two_half_way, plain_adamw(HALF))


def test_a_run_of_two_ranks_goes_on_on_one_as_if_undisturbed(folder: Path, two_half_way: State) -> None:
    check_same(train(folder, 1, range(HALF, STEPS), two_half_way), plain_adamw(STEPS))


@pytest.mark.slow
def test_a_run_of_one_rank_goes_on_on_two_as_if_undisturbed(folder: Path) -> None:
    half = train(folder, 1, range(HALF))
    check_same(half, plain_adamw(HALF))
    check_same(train(folder, 2, range(HALF, STEPS), half), plain_adamw(STEPS))


@pytest.mark.slow
def test_bf16_keeps_fp32_masters_and_goes_on_from_them(folder: Path) -> None:
    whole = train(folder, 2, range(STEPS), bf16=True)
    half = train(folder, 2, range(HALF), bf16=True)
    resumed = train(folder, 1, range(HALF, STEPS), half, bf16=True)
    assert all(weight.dtype == torch.float32 for weight in half.weights.values())
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in half.weights.values())
    assert any(not torch.equal(average, average.bfloat16().float()) for average in half.average.values())
    assert resumed.losses == pytest.approx(whole.losses[HALF:], rel=2e-2)
