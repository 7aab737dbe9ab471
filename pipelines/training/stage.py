"""Trains one stage on Ray Train: checks everything that can be known before, runs the workers, keeps what they made.

An output directory holds `recipe.json` (what was asked), `samples/` (fixed pairs over time), `ray/` (resumable state),
`history.jsonl`, `checkpoint/` and `lineage.json`. To resume is to run the same command again; another recipe into the
same output is refused with the difference shown.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from dataprep.corpus.row_index import RowIndex
from dataprep.corpus.snapshot import Snapshot, open_snapshot
from dataprep.storage.store import (
    arrow_filesystem,
    check_reachable,
    create_exclusive,
    exists,
    is_s3,
    join,
    read_bytes,
    upload_directory,
    write_whole,
)
from model.families.registry import family
from pipelines import lineage
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import differences
from pipelines.common.progress import Progress, ProgressSink, silent
from pipelines.common.versions import code_version
from pipelines.execution.capacity import Device, chosen_device, read_capacity
from pipelines.execution.engine_watch import EngineLost
from pipelines.execution.ray_data import failure_line
from pipelines.execution.ray_session import ray_session
from pipelines.execution.stalls import Stall, stall_reports
from pipelines.recipes.stage_recipe import StageRecipe, with_length
from pipelines.training.batch_shares import BatchShares, Loader
from pipelines.training.engines.process_group import ProcessGroupConfig
from pipelines.training.entry import train_worker
from pipelines.training.feeder import rows_by_bucket
from pipelines.training.parents import checked_parent, network_of
from pipelines.training.plan import TrainJob, TrainPlan, Watcher
from pipelines.training.resumable import HISTORY, MODEL
from pipelines.weights.checkpoints import CHECKPOINT, fetch_checkpoint, metadata_at
from pipelines.weights.frozen import bundled_networks, check_frozen_networks, copy_bundled

MAX_FAILURES = 3
POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """What a stage left behind; `restarts` counts how often lost workers were replaced, `replaced` the samples whose
    planned row could not be used."""

    out: str
    checkpoint: str
    images_seen: int
    loss: float
    resumed_from: int
    restarts: int
    replaced: int
    already_complete: bool


def plan_stage(
    recipe: StageRecipe,
    corpus: str,
    out: str,
    parent: str | None,
    workers: int,
    loader: Loader = "threads",
    device: Device = "auto",
) -> TrainPlan:
    """Resolve and check a stage before anything starts.

    Raises SettingsError for a call that cannot work, PipelineError, DataError or ModelError for what is missing or
    refused: no corpus, no rows, a parent of the wrong kind, an output that holds another recipe.
    """
    corpus, out = absolute(corpus), absolute(out)
    check_reachable(out)
    snapshot = open_snapshot(corpus)
    rows = snapshot.document["rows"]
    for split in ("train", "validation"):
        if not rows.get(split):
            raise PipelineError(f"{corpus} has no {split} rows; build it from more pictures")
    recipe = with_length(recipe, _rows_in_step(recipe, snapshot))
    # What it starts from: of the parent only config.json is read, and the frozen networks bundled with it.
    parent = checked_parent(recipe, absolute(parent) if parent else None)
    check_frozen_networks(family(recipe.family), network_of(recipe), parent)
    plan = TrainPlan(
        recipe=recipe,
        corpus=corpus,
        snapshot=snapshot.number,
        digest=snapshot.digest,
        rows=rows,
        out=out,
        parent=parent,
        parent_weights=metadata_at(parent).weights_sha256 if parent else None,
        shares=BatchShares.of(recipe.length, workers),
        loader=loader,
        device=device,
        frozen=bundled_networks(parent) if parent else {},
    )
    _refuse_another_recipe(plan)
    return plan


def train_stage(
    plan: TrainPlan,
    *,
    log_file: Path,
    progress: ProgressSink = silent,
    tracking_uri: str | None = None,
    address: str | None = None,
) -> TrainReport:
    """Run `plan` to its end, from where an earlier run of the same plan stopped; returns what it left."""
    if exists(join(plan.out, lineage.LINEAGE)):
        return _report(plan, [plan.recipe.length.images], already_complete=True)
    document = json.dumps(plan.document(), indent=2).encode()
    create_exclusive(join(plan.out, "recipe.json"), document)
    starts: list[int] = []  # images seen at each start of the workers: the first one, and one for each loss of a worker
    refused: list[str] = []
    workers = plan.shares.workers
    with (
        ray_session(log_file, num_cpus=None if address else workers + 2, address=address) as session,
        lineage.run("train", plan.recipe.stage, plan.out, tracking_uri, plan.recipe.flat()) as run,
    ):

        def listen(record: dict[str, Any]) -> None:
            starts.extend([record["images_seen"]] if "start" in record else [])
            refused.extend([record["refused"]] if "refused" in record else [])
            run.log_metrics(record, record["images_seen"])
            _show(plan, record, progress)

        def work() -> ray.train.Result:
            with stall_reports(plan.recipe.stage) as stall, _watcher(listen, stall) as watcher:
                return _fit(plan, watcher)

        result = session.run(work)
        if refused:
            raise PipelineError(f"training {plan.recipe.stage}: {refused[0]}")
        _keep(plan, result, document)
        run.finish(plan_node(plan), _inputs(plan))
    return _report(plan, starts, already_complete=False)


def plan_node(plan: TrainPlan) -> lineage.Node:
    """This stage's checkpoint in the chain of lineage."""
    name = f"{plan.recipe.stage} ({plan.recipe.model_size}, {plan.recipe.length.images:,} images)"
    return lineage.Node(id=join(plan.out, CHECKPOINT), kind="checkpoint", name=name)


def _refuse_another_recipe(plan: TrainPlan) -> None:
    recorded = join(plan.out, "recipe.json")
    if not exists(recorded):
        if exists(join(plan.out, lineage.LINEAGE)):
            raise PipelineError(f"{plan.out} holds no training run but another result; choose another --out")
        return
    changes = differences(json.loads(read_bytes(recorded)), json.loads(json.dumps(plan.document())))
    if changes:
        raise PipelineError(
            f"{plan.out} holds a run of another recipe ({'; '.join(changes)}); choose another --out or the same recipe"
        )


def _fit(plan: TrainPlan, watcher: Any) -> ray.train.Result:
    filesystem, path = arrow_filesystem(plan.out)
    on_gpu = _on_gpu(plan)
    job = TrainJob(
        plan=plan,
        code_version=code_version(),
        watcher=watcher,
        on_gpu=on_gpu,
        threads=int(os.environ.get("OMP_NUM_THREADS", 0)) or None,
    )
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        torch_config=ProcessGroupConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=plan.shares.workers, use_gpu=on_gpu),
        run_config=RunConfig(
            # The same name at the same place is how Ray Train finds the newest checkpoint of a killed run.
            name="ray",
            storage_path=path if is_s3(plan.out) else str(Path(path).resolve()),
            storage_filesystem=filesystem if is_s3(plan.out) else None,
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        return trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise PipelineError(f"training {plan.recipe.stage} failed: {failure_line(error)}") from error


def _rows_in_step(recipe: StageRecipe, snapshot: Snapshot) -> list[int]:
    """The training rows that steps are made of: all together, or those of each bucket."""
    if recipe.samples.sizes != "buckets":
        return [snapshot.document["rows"]["train"]]
    return [len(rows) for rows in rows_by_bucket(recipe, RowIndex.open(snapshot, "train")).values()]


def _on_gpu(plan: TrainPlan) -> bool:
    """Whether the workers ask for a GPU each, else for a CPU. Raises PipelineError for what the cluster cannot have."""
    recipe, workers, capacity = plan.recipe, plan.shares.workers, read_capacity()
    work = f"{recipe.stage} at size {recipe.model_size} with {workers} worker{'s' if workers > 1 else ''}"
    device = chosen_device(plan.device, capacity, gpus=workers, needs_gpu=recipe.needs_gpu, work=work)
    free = capacity.cpus - (workers if device == "cpu" else 0)
    if plan.loader == "ray" and free < 1 and capacity.types is not None:
        raise PipelineError(
            f"loading as Ray tasks needs a CPU beside those of the {plan.shares.workers} workers; "
            "add a CPU node, take fewer workers, or load in threads: --loader threads"
        )
    return device == "cuda"


def _keep(plan: TrainPlan, result: ray.train.Result, document: bytes) -> None:
    """Copy the final model and history out of Ray's state, and frozen networks from the parent, so that the result is
    used with what it was trained with; the recipe is written again, beside what it made."""
    if result.checkpoint is None:
        raise PipelineError(f"training {plan.recipe.stage} ended without a checkpoint")
    if plan.parent and plan.frozen:
        copy_bundled(plan.frozen, fetch_checkpoint(plan.parent), join(plan.out, CHECKPOINT))
    with result.checkpoint.as_directory() as folder:
        upload_directory(Path(folder) / MODEL, join(plan.out, CHECKPOINT))
        write_whole(join(plan.out, HISTORY), Path(folder, HISTORY).read_bytes())
    write_whole(join(plan.out, CHECKPOINT, "recipe.json"), document)


def read_history(out: str) -> list[dict[str, Any]]:
    """One record for each step of a finished stage, and one for each validation."""
    return [json.loads(line) for line in read_bytes(join(out, HISTORY)).decode().splitlines()]


def _report(plan: TrainPlan, starts: list[int], already_complete: bool) -> TrainReport:
    history = read_history(plan.out)
    last = [record for record in history if "loss" in record][-1]
    return TrainReport(
        out=plan.out,
        checkpoint=join(plan.out, CHECKPOINT),
        images_seen=last["images_seen"],
        loss=last["loss"],
        resumed_from=starts[0] if starts else 0,
        restarts=max(len(starts) - 1, 0),
        replaced=sum(len(record["replaced"]) for record in history if "replaced" in record),
        already_complete=already_complete,
    )


def _inputs(plan: TrainPlan) -> list[lineage.Input]:
    inputs = [lineage.Input("corpus", plan.corpus, plan.snapshot, plan.digest)]
    if plan.parent:
        inputs.append(lineage.Input("checkpoint", plan.parent))
    return inputs


def _show(plan: TrainPlan, record: dict[str, Any], progress: ProgressSink) -> None:
    if "loss" in record:
        speed = f"{record['tflops']:.3g} TFLOP/s a worker" + (f", MFU {record['mfu']:.0%}" if "mfu" in record else "")
        note = f"loss {record['loss']:.4f}, waits for data {record['data_wait_share']:.0%}, {speed}"
    elif "start" in record and record["images_seen"]:
        note = f"goes on from {record['images_seen']:,} images"
    else:
        return
    rate = record.get("images_per_second")
    progress(Progress(plan.recipe.stage, record["images_seen"], plan.recipe.length.images, "images", rate, note))


@contextmanager
def _watcher(listen: Callable[[dict[str, Any]], None], stall: Stall) -> Iterator[Any]:
    """A watcher actor, and a thread here that hands its records to `listen` until the block ends, or Ray does."""
    actor: Any = ray.remote(num_cpus=0)(Watcher).remote()
    ended = threading.Event()

    def poll() -> None:
        finished = False
        while not finished:
            finished = ended.wait(POLL_S)
            try:
                records = ray.get(actor.take.remote())
            except ray.exceptions.RayError:
                return  # the engine is gone, which the session notices
            for record in records:
                stall.ended()
                listen(record)

    thread = threading.Thread(target=poll, name="watcher", daemon=True)
    thread.start()
    lost = False
    try:
        yield actor
    except EngineLost:
        lost = True  # nobody is left to answer, and Ray would wait for it
        raise
    finally:
        ended.set()
        if not lost:
            thread.join(timeout=30)
            ray.kill(actor)
