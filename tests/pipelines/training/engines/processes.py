"""Runs an engine in real processes of gloo, without a compiler in reach, and has the truth of torch's own optimizer."""

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
ADAM = OptimizerSettings(kind="adam", learning_rate=1e-2, beta1=0.5, beta2=0.99, weight_decay=0.01, gradient_clip=0.5)
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """How many processes run which engine with which optimizer; alone: the network is the only one of its stage."""

    count: int
    alone: bool
    optimizer: OptimizerSettings = ADAMW
    bf16: bool = False


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


def rank_main(rank: int, ranks: Ranks, port: int, steps: range, start: State | None, out: str) -> None:
    """What one process does; rank 0 writes its State to `out`."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK="0", PATH="")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=ranks.count)
    micro = BATCH // 4
    engine = start_engine(
        network(),
        micro_batch=micro,
        accumulation=4 // ranks.count,
        optimizer=ranks.optimizer,
        bf16=ranks.bf16,
        alone=ranks.alone,
    )
    if start is None:
        engine.start_average()
    else:
        engine.restore(start.weights, start.optimizer, start.average)
    inputs, targets = batches()
    share, losses = BATCH // ranks.count, []
    for step in steps:
        engine.set_learning_rate(rate(step))
        total = torch.zeros(())
        for first in range(rank * share, (rank + 1) * share, micro):
            x, y = inputs[step, first : first + micro], targets[step, first : first + micro]
            loss = (engine(x.bfloat16() if ranks.bf16 else x).float() - y).square().mean()
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


def train(folder: Path, ranks: Ranks, steps: range, start: State | None = None) -> State:
    """The state after `steps`, from the beginning or from `start`."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    out = folder / f"{ranks.count}-{steps.start}-{steps.stop}-{ranks.bf16}-{ranks.optimizer.kind}.pt"
    arguments = (ranks, port, steps, start, str(out))
    # torch does not list it as exported
    mp.spawn(rank_main, args=arguments, nprocs=ranks.count)  # type: ignore[attr-defined]
    return State(**torch.load(out, weights_only=True))


def alone_in_torch(steps: int, settings: OptimizerSettings = ADAMW) -> State:
    """The truth: torch alone, the whole batch at once."""
    module, (inputs, targets) = network(), batches()
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.kind]
    optimizer = kind(trained.values(), betas=(settings.beta1, settings.beta2), weight_decay=settings.weight_decay)
    losses, average = [], {name: parameter.detach().clone() for name, parameter in trained.items()}
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate(step)
        loss = (module(inputs[step]) - targets[step]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained.values(), settings.gradient_clip)
        optimizer.step()
        average = {name: DECAY * kept + (1 - DECAY) * trained[name].detach() for name, kept in average.items()}
        losses.append(loss.item())
    moments = ("exp_avg", "exp_avg_sq")
    states = {f"{name}/{key}": optimizer.state[p][key] for name, p in trained.items() for key in moments}
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


def infinite_main(rank: int, ranks: Ranks, port: int, out: str) -> None:
    """One step whose loss is infinite on the last rank alone; each rank writes the norm that its engine then names."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK="0", PATH="")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=ranks.count)
    engine = start_engine(
        network(), micro_batch=1, accumulation=1, optimizer=ranks.optimizer, bf16=ranks.bf16, alone=ranks.alone
    )
    loss = engine(torch.ones(1, 7)).square().mean()
    engine.backward(loss * (float("inf") if rank == ranks.count - 1 else 1.0))
    engine.step()
    Path(f"{out}-{rank}").write_text(str(engine.gradient_norm))
    dist.barrier()
    dist.destroy_process_group()


def norms_of_an_infinite_loss(folder: Path, ranks: Ranks) -> list[float]:
    """The gradient's norm as each rank has it."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    out = str(folder / f"norm-{ranks.alone}")
    mp.spawn(infinite_main, args=(ranks, port, out), nprocs=ranks.count)  # type: ignore[attr-defined]
    return [float(Path(f"{out}-{rank}").read_text()) for rank in range(ranks.count)]
