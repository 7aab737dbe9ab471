"""One step of a stage: its networks with their engines, a global batch, and what is recorded of it.

Nothing here knows Ray: torch.distributed alone tells the workers of each other. A stage of several networks steps one
after the other, each over the whole global batch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
import torch.distributed as dist
from torch import nn

from model.families.registry import family, stage_kind
from model.stage import Stage, StageContext
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.batch_shares import BatchShares
from pipelines.training.engines.engine import TrainingEngine
from pipelines.training.engines.start import start_engine
from pipelines.training.feeder import Fed, Feeder, stage_seed
from pipelines.training.flops import count_flops, peak_flops
from pipelines.training.parents import network_of, start_network
from pipelines.training.picture_loaders import Replaced
from pipelines.training.schedule import average_decay, learning_rate
from pipelines.weights.frozen import frozen_networks

Engines = Mapping[str, TrainingEngine]


def build_stage(recipe: StageRecipe, parent: Path | None, device: torch.device) -> tuple[Stage, Any]:
    """A recipe's stage on a device, with the weights of its parent where it has one, and its network's configuration.

    The same recipe gives the same fresh weights everywhere.
    """
    torch.manual_seed(stage_seed(recipe))
    config = network_of(recipe)
    model = start_network(recipe, parent).to(device)
    return stage_over(recipe, config, model, frozen_networks(family(recipe.family), config, parent), device), config


def stage_over(
    recipe: StageRecipe, config: Any, model: nn.Module, frozen: Mapping[str, nn.Module], device: torch.device
) -> Stage:
    """A recipe's stage over networks that are there; `model` is on the device."""
    return stage_kind(recipe.stage).build(
        StageContext(
            name=recipe.stage,
            model=model,
            method=recipe.method,
            config=config,
            frozen=frozen,
            optimizer=recipe.optimizer,
            width=recipe.samples.width,
            height=recipe.samples.height,
            bf16=recipe.optimizer.precision == "bf16",
            device=device,
        )
    )


def start_engines(stage: Stage, recipe: StageRecipe, shares: BatchShares) -> dict[str, TrainingEngine]:
    """An engine for each network that the stage trains; every rank calls it."""
    return {
        name: start_engine(
            module,
            micro_batch=shares.micro_batch,
            accumulation=shares.accumulation,
            optimizer=stage.optimizers[name],
            bf16=recipe.optimizer.precision == "bf16",
            alone=len(stage.networks) == 1,
        )
        for name, module in stage.networks.items()
    }


class Step(NamedTuple):
    """One optimizer step of each network: mean losses over the whole global batch and gradient norms by the names they
    are recorded under, its samples whose row was replaced, and the width and height of all of them. parts: network ->
    the losses of this rank's micro-batches, still on the device."""

    losses: dict[str, float]
    gradient_norms: dict[str, float]
    replaced: list[dict[str, Any]]
    size: tuple[int, int]
    parts: Mapping[str, Sequence[torch.Tensor]]


def training_step(
    stage: Stage, engines: Engines, recipe: StageRecipe, shares: BatchShares, feeder: Feeder, images_seen: int
) -> Step:
    """The step that starts at `images_seen`: every network's, and of the moving averages where they are kept."""
    for name, engine in engines.items():
        engine.set_learning_rate(learning_rate(recipe, images_seen, stage.optimizers[name]))
    step = _stepped(stage, engines, shares.accumulation, feeder)
    if recipe.optimizer.ema_decay:
        decay = average_decay(recipe.optimizer.ema_decay, images_seen // recipe.length.batch_size)
        for engine in engines.values():
            engine.update_average(decay)
    return step


def _stepped(stage: Stage, engines: Engines, accumulation: int, feeder: Feeder) -> Step:
    came = ((stage.prepare(fed.batch), fed) for fed in (feeder.next() for _ in range(accumulation)))
    # One network takes its micro-batches as they come; several go through the same ones in turn, prepared once, so that
    # each has stepped on the whole global batch before the next begins.
    batches: Iterable[tuple[Any, Fed]] = came if len(stage.networks) == 1 else list(came)
    totals, parts, replaced, size = {}, dict[str, list[torch.Tensor]](), list[Replaced](), (0, 0)
    for name in stage.networks:
        total, parts[name] = torch.zeros((), device=stage.device), []
        with _others_still(stage.networks, name):
            for prepared, (batch, found) in batches:
                loss = stage.objective(name, engines, prepared)
                engines[name].backward(loss)
                engines[name].step()
                total += loss.detach()
                parts[name].append(loss.detach())
                if name == next(iter(stage.networks)):
                    replaced += found
                    height, width = batch.pictures["color"].shape[-2:]
                    size = width, height
        totals[name] = total / accumulation
    sums = torch.stack([*totals.values(), torch.full_like(total, len(replaced))])
    dist.all_reduce(sums)
    *losses, count = sums.tolist()
    means = {name: loss / dist.get_world_size() for name, loss in zip(totals, losses, strict=True)}
    norms = {name: engines[name].gradient_norm for name in totals}
    every = _of_all_ranks(replaced) if count else []
    return Step(_names("loss", means), _names("gradient_norm", norms), every, size, parts)


@contextmanager
def _others_still(networks: Mapping[str, nn.Module], name: str) -> Iterator[None]:
    """Gradients of one network's objective reach no parameter of another."""
    others = [
        parameter
        for other, module in networks.items()
        if other != name
        for parameter in module.parameters()
        if parameter.requires_grad
    ]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def _names(what: str, values: Mapping[str, float]) -> dict[str, float]:
    """`loss`, of the last network (the only one, or the generator), and `loss_<network>` where there are several."""
    named = {f"{what}_{name}": value for name, value in values.items()} if len(values) > 1 else {}
    return {what: list(values.values())[-1]} | named


def _of_all_ranks(replaced: Sequence[Replaced]) -> list[dict[str, Any]]:
    """What was replaced on any rank, by ordinal; every rank must ask."""
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, [asdict(found) for found in replaced])
    return sorted((found for rank in gathered for found in rank), key=lambda found: int(found["ordinal"]))


def performance(
    recipe: StageRecipe, config: Any, device: torch.device, workers: int, size: tuple[int, int], took_s: float
) -> dict[str, float]:
    """Rate, memory and operations of a step. `tflops` are those of one device a second, encoders included; `mfu` is
    their share of its peak, where that is known."""
    rate = recipe.length.batch_size / took_s
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else psutil.Process().memory_info().rss
    flops = count_flops(recipe.family, config, *size).total
    achieved, peak = flops * rate / workers, peak_flops(device)
    speed = {"images_per_second": rate, "memory_gib": memory / 2**30, "tflops": achieved / 1e12}
    return speed if peak is None else speed | {"mfu": achieved / peak}
