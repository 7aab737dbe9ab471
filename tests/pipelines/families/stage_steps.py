"""Steps of every stage of every registered family, without Ray: real processes, torch.distributed over gloo.

One set of processes takes all stages one after another, so that the whole check pays for one start of torch.
"""

import os
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from model.checkpoint import CheckpointMetadata
from model.families.registry import family, stage_kind
from model.stage import trained_names
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.stages import stage_names, stage_recipe
from pipelines.training.batch_shares import BatchShares
from pipelines.training.feeder import Feeder, open_split
from pipelines.training.parents import frozen_weights
from pipelines.training.state.resumable import export, gathered, read_state, restore, write_state
from pipelines.training.step import build_stage, start_engines, training_step
from pipelines.training.watching.watch import validation

BATCH = 4
SMALL: dict[str, Any] = {"batch_size": BATCH, "micro_batch": 2, "images": 2 * BATCH, "width": 32, "height": 32}


def small_recipe(stage: str) -> StageRecipe:
    """The stage's tiny recipe, of two steps of four images, with a moving average."""
    return stage_recipe(stage, "tiny").changed(**SMALL, ema_decay=0.5, warmup_images=0)


def parent_of(stage: str) -> str | None:
    """The stage that its first step goes on from: its parent, or the first of those that it must begin with one of."""
    kind, parent = stage_kind(stage), stage_recipe(stage).parent_stage
    fitting = [name for name in kind.fresh_from if name in stage_names()]
    return parent or (fitting[0] if kind.needs_parent else None)


def take_steps(folder: Path, corpus: str, snapshot: int, stages: list[str], workers: int) -> None:
    """Each stage's next step with so many workers, from where it stands in `folder`, and its export; parents first.

    One that has not begun takes a second step without stopping, whose weights and losses are kept in `unstopped`.
    """
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    spawn(_worker, args=(workers, port, str(folder), corpus, snapshot, stages), nprocs=workers)


def _worker(rank: int, workers: int, port: int, folder: str, corpus: str, snapshot: int, stages: list[str]) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK="0", PATH="")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=workers)
    for stage in stages:
        _one_step(Path(folder) / stage, corpus, snapshot, small_recipe(stage), rank, workers)
        dist.barrier()
    dist.destroy_process_group()


def _one_step(place: Path, corpus: str, snapshot: int, recipe: StageRecipe, rank: int, workers: int) -> None:
    earlier = parent_of(recipe.stage)
    parent = place.parent / earlier / "first" / "model" if earlier else None
    stage, config = build_stage(recipe, parent, torch.device("cpu"))
    frozen = frozen_weights(stage.model, set(trained_names(stage.networks)), parent)
    shares = BatchShares.of(recipe.length, workers)
    engines = start_engines(stage, recipe, shares)
    before, after = place / "first", place / "final"
    if before.exists():
        found, position = read_state(before, with_average=True)
        restore(stage, engines, found)
        seen, history = position.images_seen, position.history
    else:
        seen, history, after = 0, [], before
        for engine in engines.values():
            engine.start_average()

    reader = open_split(corpus, "train", recipe, stage.needs, snapshot)
    with closing(Feeder(reader, recipe, stage, shares=shares, rank=rank, images_seen=seen)) as feeder:
        step = training_step(stage, engines, recipe, shares, feeder, seen)
        measured = validation(stage, recipe, corpus, snapshot, rank, workers)
        history.append({"images_seen": seen + BATCH, **step.losses, **measured})
        state = gathered(stage, engines, with_average=True)
        if not rank:
            after.mkdir(parents=True)
            write_state(after, state, history)
            metadata = CheckpointMetadata(
                family=recipe.family, stage=recipe.stage, size="tiny", width=32, height=32, **stage.recorded()
            )
            export(after, family(recipe.family).build(config), state, frozen, metadata)
        if after == before:
            step = training_step(stage, engines, recipe, shares, feeder, seen + BATCH)
            state = gathered(stage, engines, with_average=True)
            if not rank:
                (place / "unstopped").mkdir()
                write_state(place / "unstopped", state, [*history, step.losses])
