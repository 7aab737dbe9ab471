"""The training loop that every stage shares, as one Ray Train worker runs it.

Progress and intervals are counted in images. A checkpoint holds the exported weights, AdamW's state by parameter name
and the history so far, so that a restart (of a worker or of the driver, on any number of workers) goes on at the exact
sample and ends with the history of an undisturbed run.
"""

import json
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from dataprep.corpus.reader import CorpusReader
from dataprep.storage.store import join
from model.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from model.families.v1.network import V1
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.batch_shares import Shares
from pipelines.training.engines.engine import TrainingEngine, start_engine
from pipelines.training.feeder import Feeder, columns
from pipelines.training.flops import count_flops, peak_flops
from pipelines.training.job import TrainJob
from pipelines.training.picture_loaders import Replaced
from pipelines.training.stages import V1Stage
from pipelines.training.watch import sample_fixed_pairs, validation_losses
from pipelines.weights.checkpoints import fetch_checkpoint


@dataclass
class Position:
    """Where a run is: images seen, and one record for each step so far."""

    images_seen: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def run_worker(job: TrainJob) -> None:
    """What one worker does from its start to the end of the stage."""
    recipe, context = job.recipe, ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    torch.set_num_threads(job.threads or max(1, (psutil.cpu_count() or 1) // workers))

    parent = fetch_checkpoint(job.parent) if job.parent else None
    stage = V1Stage(recipe, parent, device)
    shares = Shares.of(recipe, workers)
    engine = start_engine(
        stage.model,
        micro_batch=shares.micro_batch,
        accumulation=shares.accumulation,
        optimizer={
            "lr": recipe.learning_rate,
            "betas": (recipe.beta1, recipe.beta2),
            "weight_decay": recipe.weight_decay,
            "gradient_clip": recipe.gradient_clip,
        },
        bf16=recipe.precision == "bf16",
    )
    position = _resume(engine, recipe)
    if rank == 0:
        flops = count_flops(stage.config, recipe.width, recipe.height)
        costs = {"flops_per_image": flops.total, "flops_share_of_encoders": flops.frozen / flops.total}
        _post(job, rank, {"images_seen": position.images_seen, "start": True} | costs)
    reader = CorpusReader(job.corpus, "train", columns(recipe), job.snapshot, facts=False)
    with closing(Feeder(reader, recipe, shares, rank, position.images_seen, stage.shapes, loader=job.loader)) as feeder:
        _loop(job, stage, engine, feeder, shares, position, rank)


def learning_rate(recipe: StageRecipe, images_seen: int) -> float:
    """Linear warm-up over `warmup_images`, constant, linear decay to a tenth over the last `decay_images`."""
    rate = recipe.learning_rate
    if images_seen < recipe.warmup_images:
        return rate * (images_seen + recipe.batch_size) / (recipe.warmup_images + recipe.batch_size)
    left = recipe.images - images_seen
    if left < recipe.decay_images:
        return rate * max(0.1, left / recipe.decay_images)
    return rate


def average_decay(recipe: StageRecipe, images_seen: int) -> float:
    """Of the step that starts at `images_seen`: min(ema_decay, (1 + n) / (10 + n)) after n steps, as is usual, so that
    the untrained weights at the beginning are soon forgotten."""
    steps = images_seen // recipe.batch_size
    return min(recipe.ema_decay, (1 + steps) / (10 + steps))


def _loop(
    job: TrainJob, stage: V1Stage, engine: TrainingEngine, feeder: Feeder, shares: Shares, position: Position, rank: int
) -> None:
    recipe = job.recipe
    if position.images_seen == 0:
        _watch(job, stage, position, rank)
    while position.images_seen < recipe.images:
        started, waited = time.perf_counter(), feeder.waited_s
        rate = learning_rate(recipe, position.images_seen)
        engine.set_learning_rate(rate)
        step = _step(stage, engine, feeder, shares)
        if recipe.ema_decay:
            engine.update_average(average_decay(recipe, position.images_seen))
        position.images_seen += recipe.batch_size
        took = time.perf_counter() - started
        record = {
            "images_seen": position.images_seen,
            "loss": step.loss,
            "learning_rate": rate,
            "gradient_norm": engine.gradient_norm,
        }
        position.history.append(record)
        if step.replaced:
            position.history.append({"images_seen": position.images_seen, "replaced": step.replaced})
            record = record | {"replaced_samples": len(step.replaced)}
        if rank == 0:
            speed = _performance(stage, shares, step.size, took)
            _post(job, rank, record | speed | {"data_wait_share": (feeder.waited_s - waited) / took})
        _watch(job, stage, position, rank)
        if _due(recipe.checkpoint_images, recipe, position.images_seen):
            _checkpoint(job, stage, engine, position, rank)


class Step(NamedTuple):
    """One optimizer step: the mean loss over the whole global batch, its samples whose row was replaced, and the width
    and height of all of them."""

    loss: float
    replaced: list[dict[str, Any]]
    size: tuple[int, int]


def _step(stage: V1Stage, engine: TrainingEngine, feeder: Feeder, shares: Shares) -> Step:
    total = torch.zeros((), device=stage.device)
    replaced: list[Replaced] = []
    for _ in range(shares.accumulation):
        batch = feeder.next()
        replaced += batch.replaced
        loss = stage.training_loss(engine, stage.condition(batch))
        engine.backward(loss)
        engine.step()
        total += loss.detach()
    sums = torch.stack([total / shares.accumulation, torch.full_like(total, len(replaced))])
    dist.all_reduce(sums)
    loss_sum, count = sums.tolist()
    height, width = batch.color.shape[-2:]
    return Step(loss_sum / dist.get_world_size(), _of_all_ranks(replaced) if count else [], (width, height))


def _of_all_ranks(replaced: list[Replaced]) -> list[dict[str, Any]]:
    """What was replaced on any rank, by ordinal; every rank must ask."""
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, [asdict(found) for found in replaced])
    return sorted((found for rank in gathered for found in rank), key=lambda found: int(found["ordinal"]))


def _watch(job: TrainJob, stage: V1Stage, position: Position, rank: int) -> None:
    """At its intervals: sample the fixed pairs (rank 0) and measure the validation loss (every rank its part)."""
    recipe, seen = job.recipe, position.images_seen
    if _due(recipe.sample_images, recipe, seen) and rank == 0:
        sample_fixed_pairs(stage, job.corpus, job.snapshot, join(job.out, "samples"), seen)
    if _due(recipe.validate_images, recipe, seen):
        bands = validation_losses(stage, job.corpus, job.snapshot, rank, dist.get_world_size())
        record = {"images_seen": seen} | bands
        position.history.append(record)
        _post(job, rank, record)


def _due(interval: int, recipe: StageRecipe, images_seen: int) -> bool:
    """Whether the step that ended at `images_seen` crossed a multiple of `interval`, or was the first or last."""
    if images_seen in (0, recipe.images):
        return True
    return images_seen // interval > (images_seen - recipe.batch_size) // interval


def _checkpoint(job: TrainJob, stage: V1Stage, engine: TrainingEngine, position: Position, rank: int) -> None:
    weights, state = engine.masters(), engine.optimizer_state()
    average = engine.averages() if job.recipe.ema_decay else None
    metrics = {"images_seen": position.images_seen}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        exported = V1(stage.config)
        exported.load_state_dict(weights)
        save_checkpoint(Path(folder) / "model", exported, metadata(job, stage, position.images_seen), average)
        save_file(state, Path(folder) / "optimizer.safetensors")
        Path(folder, "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in position.history))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
    _post(job, rank, {"images_seen": position.images_seen, "checkpoint": True})


def metadata(job: TrainJob, stage: V1Stage, images_seen: int) -> CheckpointMetadata:
    """What a checkpoint says of itself."""
    return CheckpointMetadata(
        stage=job.recipe.stage,
        size=job.recipe.model_size,
        scaling_factor=stage.codec.scaling_factor,
        codec=stage.config.codec,
        image_encoder=stage.config.image_encoder,
        parent=job.parent,
        ema_decay=job.recipe.ema_decay or None,
        corpus_snapshot=job.snapshot,
        corpus_digest=job.digest,
        code_version=job.code_version,
        prediction_type=job.recipe.prediction_type,
        images_seen=images_seen,
        width=job.recipe.width,
        height=job.recipe.height,
    )


def _resume(engine: TrainingEngine, recipe: StageRecipe) -> Position:
    """The position and state of the newest checkpoint of this run, or a fresh start."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        if recipe.ema_decay:
            engine.start_average()
        return Position()
    with checkpoint.as_directory() as folder:
        model, found = load_checkpoint(Path(folder) / "model")
        average = load_checkpoint(Path(folder) / "model", ema=True)[0].state_dict() if recipe.ema_decay else None
        engine.restore(model.state_dict(), load_file(Path(folder) / "optimizer.safetensors"), average)
        history = [json.loads(line) for line in Path(folder, "history.jsonl").read_text().splitlines()]
    return Position(found.images_seen, history)


def _performance(stage: V1Stage, shares: Shares, size: tuple[int, int], took_s: float) -> dict[str, float]:
    """Rate, memory and operations of a step. `tflops` are those of one device a second, encoders included; `mfu` is
    their share of its peak, where that is known."""
    cuda, rate = stage.device.type == "cuda", stage.recipe.batch_size / took_s
    memory = torch.cuda.max_memory_allocated() if cuda else psutil.Process().memory_info().rss
    achieved, peak = count_flops(stage.config, *size).total * rate / shares.workers, peak_flops(stage.device)
    speed = {"images_per_second": rate, "memory_gib": memory / 2**30, "tflops": achieved / 1e12}
    return speed if peak is None else speed | {"mfu": achieved / peak}


def _post(job: TrainJob, rank: int, record: dict[str, Any]) -> None:
    """Tell the driver; a no-op off rank 0. The answer is not awaited, so the loop never waits for its audience."""
    if rank == 0:
        job.watcher.post.remote(record)
