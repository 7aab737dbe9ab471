"""The training loop that every stage of every family shares, as one Ray Train worker runs it.

Progress and intervals are counted in images. A restart (of a worker or of the driver, on any number of workers) goes on
at the exact sample and ends with the history of an undisturbed run. A stage of several networks steps one after the
other, each over the whole global batch.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import nn

from dataprep.storage.store import join
from model.checkpoint import CheckpointMetadata
from model.families.registry import family, stage_kind
from model.optimizer import OptimizerSettings, average_decay, scheduled_rate
from model.stage import Stage, StageContext, trained_names
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.engines.engine import TrainingEngine
from pipelines.training.engines.start import start_engine
from pipelines.training.feeder import Fed, Feeder, open_split, stage_seed
from pipelines.training.flops import count_flops, peak_flops
from pipelines.training.parents import frozen_weights, network_of, start_network
from pipelines.training.picture_loaders import Replaced
from pipelines.training.plan import TrainJob
from pipelines.training.resumable import Position, export, gathered, read_state, write_state
from pipelines.training.watch import sample_fixed_pairs, validation
from pipelines.weights.checkpoints import fetch_checkpoint
from pipelines.weights.frozen import frozen_networks


@dataclass(frozen=True, eq=False)
class Run:
    """One worker's part of a training: what it was given, and what it made of that."""

    job: TrainJob
    stage: Stage
    config: Any
    engines: Mapping[str, TrainingEngine]
    frozen: Mapping[str, torch.Tensor]
    rank: int

    @property
    def recipe(self) -> StageRecipe:
        """The job's."""
        return self.job.recipe

    def post(self, record: dict[str, Any]) -> None:
        """Send a record to the driver; a no-op off rank 0. The answer is not awaited, so the loop never waits for its
        audience."""
        if self.rank == 0:
            self.job.watcher.post.remote(record)


def run_worker(job: TrainJob) -> None:
    """What one worker does from its start to the end of the stage."""
    plan, recipe, context = job.plan, job.recipe, ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(job.threads or max(1, (psutil.cpu_count() or 1) // workers))

    # The networks, and an engine for each that is trained.
    parent = fetch_checkpoint(plan.parent) if plan.parent else None
    stage, config = build_stage(recipe, parent, ray.train.torch.get_device())
    frozen = frozen_weights(stage.model, set(trained_names(stage.networks)), parent) if rank == 0 else {}
    engines = {
        name: start_engine(
            module,
            micro_batch=plan.shares.micro_batch,
            accumulation=plan.shares.accumulation,
            optimizer=stage.optimizers[name],
            bf16=recipe.optimizer.precision == "bf16",
            alone=len(stage.networks) == 1,
        )
        for name, module in stage.networks.items()
    }
    run = Run(job, stage, config, engines, frozen, rank)

    # Where an earlier run stopped, and what an image costs.
    position = _resume(run)
    if rank == 0:
        flops = count_flops(recipe.family, config, recipe.samples.width, recipe.samples.height)
        costs = {"flops_per_image": flops.total, "flops_share_of_encoders": flops.frozen / flops.total}
        run.post({"images_seen": position.images_seen, "start": True} | costs)

    reader = open_split(plan.corpus, "train", recipe, stage.needs, plan.snapshot)
    feeder = Feeder(
        reader, recipe, stage, shares=plan.shares, rank=rank, images_seen=position.images_seen, loader=plan.loader
    )
    with closing(feeder):
        _loop(run, feeder, position)


def build_stage(recipe: StageRecipe, parent: Path | None, device: torch.device) -> tuple[Stage, Any]:
    """A recipe's stage on a device, with the weights of its parent where it has one, and its network's configuration.

    The same recipe gives the same fresh weights everywhere.
    """
    torch.manual_seed(stage_seed(recipe))
    config = network_of(recipe)
    model = start_network(recipe, parent).to(device)
    stage = stage_kind(recipe.stage).build(
        StageContext(
            name=recipe.stage,
            model=model,
            method=recipe.method,
            config=config,
            frozen=frozen_networks(family(recipe.family), config, parent),
            optimizer=recipe.optimizer,
            width=recipe.samples.width,
            height=recipe.samples.height,
            bf16=recipe.optimizer.precision == "bf16",
            device=device,
        )
    )
    return stage, config


def learning_rate(recipe: StageRecipe, images_seen: int, optimizer: OptimizerSettings | None = None) -> float:
    """Of the step that starts at `images_seen`; `optimizer`: of a network that has one of its own."""
    return scheduled_rate(
        (optimizer or recipe.optimizer).learning_rate,
        images_seen,
        images=recipe.length.images,
        batch_size=recipe.length.batch_size,
        warmup_images=recipe.optimizer.warmup_images,
        decay_images=recipe.optimizer.decay_images,
    )


def _loop(run: Run, feeder: Feeder, position: Position) -> None:
    recipe, length = run.recipe, run.recipe.length
    if position.images_seen == 0:
        _watch(run, position)
    while position.images_seen < length.images:
        # One step of every network on the next global batch.
        started, waited = time.perf_counter(), feeder.waited_s
        for name, engine in run.engines.items():
            engine.set_learning_rate(learning_rate(recipe, position.images_seen, run.stage.optimizers[name]))
        step = _step(run, feeder)
        if recipe.optimizer.ema_decay:
            decay = average_decay(recipe.optimizer.ema_decay, position.images_seen // length.batch_size)
            for engine in run.engines.values():
                engine.update_average(decay)
        record = {
            "images_seen": position.images_seen + length.batch_size,
            **step.losses,
            "learning_rate": learning_rate(recipe, position.images_seen),
            "gradient_norm": list(run.engines.values())[-1].gradient_norm,
        }
        position.images_seen += length.batch_size
        took = time.perf_counter() - started

        # What is recorded of it, looked at and kept.
        position.history.append(record)
        if step.replaced:
            position.history.append({"images_seen": position.images_seen, "replaced": step.replaced})
            record = record | {"replaced_samples": len(step.replaced)}
        speed = _performance(run, step.size, took) if run.rank == 0 else {}
        run.post(record | speed | {"data_wait_share": (feeder.waited_s - waited) / took})
        _watch(run, position)
        if _due(recipe.watch.checkpoint_images, recipe, position.images_seen):
            _checkpoint(run, position)


class Step(NamedTuple):
    """One optimizer step of each network: mean losses over the whole global batch by the name they are recorded under,
    its samples whose row was replaced, and the width and height of all of them."""

    losses: dict[str, float]
    replaced: list[dict[str, Any]]
    size: tuple[int, int]


def _step(run: Run, feeder: Feeder) -> Step:
    stage, accumulation = run.stage, run.job.plan.shares.accumulation
    fed = (feeder.next() for _ in range(accumulation))
    # One network takes its micro-batches as they come; several go through the same ones in turn, so that each has
    # stepped on the whole global batch before the next begins.
    batches: Iterator[Fed] | list[Fed] = fed if len(stage.networks) == 1 else list(fed)
    totals, replaced, size = {}, list[Replaced](), (0, 0)
    for name in stage.networks:
        total = torch.zeros((), device=stage.device)
        with _others_still(stage.networks, name):
            for batch, found in batches:
                prepared = stage.prepare(batch)
                loss = stage.objective(name, run.engines, prepared)
                run.engines[name].backward(loss)
                run.engines[name].step()
                total += loss.detach()
                if name == next(iter(stage.networks)):
                    replaced += found
                    height, width = batch.pictures["color"].shape[-2:]
                    size = width, height
        totals[name] = total / accumulation
    sums = torch.stack([*totals.values(), torch.full_like(total, len(replaced))])
    dist.all_reduce(sums)
    *losses, count = sums.tolist()
    means = {name: loss / dist.get_world_size() for name, loss in zip(totals, losses, strict=True)}
    return Step(_loss_names(means), _of_all_ranks(replaced) if count else [], size)


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


def _loss_names(means: Mapping[str, float]) -> dict[str, float]:
    """`loss`, of the last network (the only one, or the generator), and `loss_<network>` where there are several."""
    named = {f"loss_{name}": mean for name, mean in means.items()} if len(means) > 1 else {}
    return {"loss": list(means.values())[-1]} | named


def _of_all_ranks(replaced: Sequence[Replaced]) -> list[dict[str, Any]]:
    """What was replaced on any rank, by ordinal; every rank must ask."""
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, [asdict(found) for found in replaced])
    return sorted((found for rank in gathered for found in rank), key=lambda found: int(found["ordinal"]))


def _watch(run: Run, position: Position) -> None:
    """At its intervals: colour the fixed pairs (rank 0) and measure held-out rows (every rank its part)."""
    recipe, seen = run.recipe, position.images_seen
    plan = run.job.plan
    if _due(recipe.watch.sample_images, recipe, seen) and run.rank == 0:
        sample_fixed_pairs(run.stage, recipe, plan.corpus, plan.snapshot, join(plan.out, "samples"), seen)
    if _due(recipe.watch.validate_images, recipe, seen):
        measured = validation(run.stage, recipe, plan.corpus, plan.snapshot, run.rank, dist.get_world_size())
        record = {"images_seen": seen} | measured
        position.history.append(record)
        run.post(record)


def _due(interval: int, recipe: StageRecipe, images_seen: int) -> bool:
    """Whether the step that ended at `images_seen` crossed a multiple of `interval`, or was the first or last."""
    if images_seen in (0, recipe.length.images):
        return True
    return images_seen // interval > (images_seen - recipe.length.batch_size) // interval


def _checkpoint(run: Run, position: Position) -> None:
    state = gathered(run.stage, run.engines, with_average=bool(run.recipe.optimizer.ema_decay))
    metrics = {"images_seen": position.images_seen}
    if run.rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_state(Path(folder), state, position.history)
        if position.images_seen == run.recipe.length.images:
            module = family(run.recipe.family).build(run.config)
            export(Path(folder), module, state, run.frozen, metadata(run, position.images_seen))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
    run.post({"images_seen": position.images_seen, "checkpoint": True})


def metadata(run: Run, images_seen: int) -> CheckpointMetadata:
    """What a checkpoint says of itself."""
    recipe, plan = run.recipe, run.job.plan
    return CheckpointMetadata(
        family=recipe.family,
        stage=recipe.stage,
        size=recipe.model_size,
        parent=plan.parent,
        ema_decay=recipe.optimizer.ema_decay or None,
        corpus_snapshot=plan.snapshot,
        corpus_digest=plan.digest,
        code_version=run.job.code_version,
        images_seen=images_seen,
        width=recipe.samples.width,
        height=recipe.samples.height,
        **run.stage.recorded(),
    )


def _resume(run: Run) -> Position:
    """The position and state of the newest checkpoint of this run, or a fresh start."""
    checkpoint, averaged = ray.train.get_checkpoint(), bool(run.recipe.optimizer.ema_decay)
    if checkpoint is None:
        for engine in run.engines.values() if averaged else ():
            engine.start_average()
        return Position()
    with checkpoint.as_directory() as folder:
        return read_state(Path(folder), run.stage, run.engines, averaged)


def _performance(run: Run, size: tuple[int, int], took_s: float) -> dict[str, float]:
    """Rate, memory and operations of a step. `tflops` are those of one device a second, encoders included; `mfu` is
    their share of its peak, where that is known."""
    device, recipe = run.stage.device, run.recipe
    rate = recipe.length.batch_size / took_s
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else psutil.Process().memory_info().rss
    flops = count_flops(recipe.family, run.config, *size).total
    achieved, peak = flops * rate / run.job.plan.shares.workers, peak_flops(device)
    speed = {"images_per_second": rate, "memory_gib": memory / 2**30, "tflops": achieved / 1e12}
    return speed if peak is None else speed | {"mfu": achieved / peak}
