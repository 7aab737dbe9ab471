"""The training loop that every stage of every family shares, as one Ray Train worker runs it.

Progress and intervals are counted in images. A restart (of a worker or of the driver, on any number of workers) goes on
at the exact sample and ends with the history of an undisturbed run.
"""

import platform
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psutil
import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from dataprep.storage.store import join
from model.checkpoint import CheckpointMetadata
from model.errors import ModelError
from model.families.registry import family
from model.stage import Stage, trained_names
from pipelines.common.errors import PipelineError
from pipelines.execution.capacity import no_cuda
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.engines.engine import TrainingEngine
from pipelines.training.engines.process_group import blind_machines
from pipelines.training.feeder import Feeder, open_split
from pipelines.training.flops import count_flops
from pipelines.training.parents import frozen_weights
from pipelines.training.plan import TrainJob
from pipelines.training.schedule import learning_rate
from pipelines.training.state.lock import is_held
from pipelines.training.state.resumable import Position, TrainedState, check_state, export, gathered, write_state
from pipelines.training.state.resume import Place, everywhere, resume
from pipelines.training.state.store import StateStore
from pipelines.training.step import Step, build_stage, performance, start_engines, training_step
from pipelines.training.stopped import Part, Stop, is_not_finite, joined, not_finite, record_stop
from pipelines.training.watching.watch import sample_fixed_pairs, validation
from pipelines.weights.checkpoints import fetch_checkpoint


@dataclass(frozen=True, eq=False)
class Run:
    """One worker's part of a training: what it was given, and what it made of that."""

    job: TrainJob
    stage: Stage
    config: Any
    engines: Mapping[str, TrainingEngine]
    frozen: Mapping[str, torch.Tensor]
    rank: int
    store: StateStore

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
    """What one worker does from its start to the end of the stage.

    Raises PipelineError where a worker of its group lacks the GPU that it was given.
    """
    if blind := blind_machines():
        raise no_cuda(blind)
    plan, recipe, context = job.plan, job.recipe, ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(job.threads or max(1, (psutil.cpu_count() or 1) // workers))

    if not is_held(plan.out, job.token):
        raise PipelineError(
            f"{platform.node()} does not see the lock of this run in {plan.out}: "
            "--out must be on S3 or on a disk that all machines share"
        )

    # The networks, and an engine for each that is trained.
    parent = fetch_checkpoint(plan.parent) if plan.parent else None
    device = ray.train.torch.get_device() if job.on_gpu else torch.device("cpu")
    stage, config = build_stage(recipe, parent, device)
    frozen = frozen_weights(stage.model, set(trained_names(stage.networks)), parent) if rank == 0 else {}
    engines = start_engines(stage, recipe, plan.shares)
    run = Run(job, stage, config, engines, frozen, rank, StateStore(plan.out))

    # Where an earlier run stopped, and what an image costs.
    place = Place(context.get_node_rank(), context.get_local_rank())
    resumed = resume(run.store, place, stage, engines, bool(recipe.optimizer.ema_decay))
    position = resumed.position
    if rank == 0:
        flops = count_flops(recipe.family, config, recipe.samples.width, recipe.samples.height)
        costs = {"flops_per_image": flops.total, "flops_share_of_encoders": flops.frozen / flops.total}
        run.post({"images_seen": position.images_seen, "start": True, "damaged": resumed.damaged} | costs)

    reader = open_split(plan.corpus, "train", recipe, stage.needs, plan.snapshot)
    feeder = Feeder(
        reader, recipe, stage, shares=plan.shares, rank=rank, images_seen=position.images_seen, loader=plan.loader
    )
    with closing(feeder):
        _loop(run, feeder, position)


def _loop(run: Run, feeder: Feeder, position: Position) -> None:
    recipe, length = run.recipe, run.recipe.length
    if position.images_seen == 0:
        _watch(run, position)
    while position.images_seen < length.images:
        # One step of every network on the next global batch.
        started, waited = time.perf_counter(), feeder.waited_s
        step = training_step(run.stage, run.engines, recipe, run.job.plan.shares, feeder, position.images_seen)
        if wrong := not_finite(step.losses | step.gradient_norms):
            _stop_at_step(run, feeder, position, step, wrong)
        record = {
            "images_seen": position.images_seen + length.batch_size,
            **step.losses,
            "learning_rate": learning_rate(recipe, position.images_seen),
            "gradient_norm": step.gradient_norms["gradient_norm"],
        }
        position.images_seen += length.batch_size
        took = time.perf_counter() - started

        # What is recorded of it, looked at and kept.
        position.history.append(record)
        if step.replaced:
            position.history.append({"images_seen": position.images_seen, "replaced": step.replaced})
            record = record | {"replaced_samples": len(step.replaced)}
        if run.rank == 0:  # the others' would be counted for nobody
            workers = run.job.plan.shares.workers
            speed = performance(recipe, run.config, run.stage.device, workers, step.size, took)
            run.post(record | speed | {"data_wait_share": (feeder.waited_s - waited) / took})
        _watch(run, position)
        if _due(recipe.watch.checkpoint_images, recipe, position.images_seen):
            _checkpoint(run, position)


def _watch(run: Run, position: Position) -> None:
    """At its intervals: colour the fixed pairs (rank 0) and measure held-out rows (every rank its part)."""
    recipe, seen = run.recipe, position.images_seen
    plan = run.job.plan
    if _due(recipe.watch.sample_images, recipe, seen) and run.rank == 0:
        try:
            sample_fixed_pairs(run.stage, recipe, plan.corpus, plan.snapshot, join(plan.out, "samples"), seen)
        except ModelError as error:
            _stop(run, position, Stop(str(error), seen), alone=True)
    if _due(recipe.watch.validate_images, recipe, seen):
        measured = validation(run.stage, recipe, plan.corpus, plan.snapshot, run.rank, dist.get_world_size())
        if wrong := not_finite(measured):
            _stop(run, position, Stop(is_not_finite(wrong), seen, wrong))
        record = {"images_seen": seen} | measured
        position.history.append(record)
        run.post(record)


def _due(interval: int, recipe: StageRecipe, images_seen: int) -> bool:
    """Whether the step that ended at `images_seen` crossed a multiple of `interval`, or was the first or last."""
    if images_seen in (0, recipe.length.images):
        return True
    return images_seen // interval > (images_seen - recipe.length.batch_size) // interval


def _checkpoint(run: Run, position: Position) -> None:
    """Keep the state of all ranks; where rank 0 cannot, all of them stop."""
    state = gathered(run.stage, run.engines, with_average=bool(run.recipe.optimizer.ema_decay))
    problem = ""
    if run.rank == 0:
        try:
            check_state(state, "its state")
            _write(run, position, state)
        except ModelError as error:
            problem = record_stop(Stop(str(error), position.images_seen), run.recipe, run.store, position)
        except PipelineError as error:
            problem = str(error)
    if problem := everywhere(problem)[0]:
        raise PipelineError(problem)
    run.post({"images_seen": position.images_seen, "checkpoint": True})


def _write(run: Run, position: Position, state: TrainedState) -> None:
    """On rank 0: the state, at the end with the exported checkpoint. Raises PipelineError where that is not possible,
    ModelError for weights that are not finite."""
    if not is_held(run.job.plan.out, run.job.token):
        raise PipelineError(f"another run has taken over {run.job.plan.out}, since this one gave no sign of life")

    def fill(folder: Path) -> None:
        write_state(folder, state, position.history)
        if position.images_seen == run.recipe.length.images:
            module = family(run.recipe.family).build(run.config)
            export(folder, module, state, run.frozen, metadata(run, position.images_seen))

    run.store.write(position.images_seen, fill)


def _stop_at_step(run: Run, feeder: Feeder, position: Position, step: Step, wrong: Mapping[str, float]) -> NoReturn:
    """All ranks stop at a step whose numbers, which are the same on all, are not finite."""
    seen, ordinals = position.images_seen, run.job.plan.shares.ordinals(position.images_seen, run.rank)
    losses = {name: torch.stack([*some]).tolist() for name, some in step.parts.items()}
    own = [
        Part(some, feeder.planned_rows(some), {name: values[place] for name, values in losses.items()})
        for place, some in enumerate(ordinals)
    ]
    parts = joined(everywhere(own))
    numbers = {"learning_rate": learning_rate(run.recipe, seen)} | step.losses | step.gradient_norms
    _stop(run, position, Stop(is_not_finite(wrong), seen + run.recipe.length.batch_size, numbers, parts))


def _stop(run: Run, position: Position, stop: Stop, *, alone: bool = False) -> NoReturn:
    """Every rank stops with one message, once rank 0 has recorded why. alone: only rank 0 is here, and Ray Train ends
    the others."""
    message = record_stop(stop, run.recipe, run.store, position) if run.rank == 0 else ""
    raise PipelineError(message if alone else everywhere(message)[0])


def metadata(run: Run, images_seen: int) -> CheckpointMetadata:
    """What a checkpoint says of itself."""
    recipe, plan = run.recipe, run.job.plan
    own = dict(run.stage.recorded())
    return CheckpointMetadata(
        family=recipe.family,
        stage=own.pop("stage", recipe.stage),
        size=recipe.model_size,
        parent=plan.parent,
        ema_decay=recipe.optimizer.ema_decay or None,
        corpus_snapshot=plan.snapshot,
        corpus_digest=plan.digest,
        code_version=run.job.code_version,
        images_seen=images_seen,
        width=recipe.samples.width,
        height=recipe.samples.height,
        **own,
    )
