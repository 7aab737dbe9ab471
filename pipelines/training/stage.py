"""Trains one stage on Ray Train: checks everything that can be known before, runs the workers, keeps what they made.

An output directory holds `recipe.json` (what was asked), `samples/` (fixed pairs over time), `states/` (what a run goes
on from), `history.jsonl`, `checkpoint/` and `lineage.json`; `changes.json` where settings changed on the way, and
`stopped.json` where numbers were not finite. To resume is to run the same command again; another recipe into the same
output is refused with the difference shown, and so is a second run at the same time.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from dataprep.corpus.reader import CorpusReader
from dataprep.corpus.row_index import RowIndex
from dataprep.corpus.snapshot import Snapshot, open_snapshot
from dataprep.storage.store import (
    arrow_filesystem,
    check_reachable,
    create_exclusive,
    delete_folder,
    exists,
    is_s3,
    join,
    read_bytes,
    remove,
    upload_directory,
    write_whole,
)
from model.families.registry import family, stage_kind
from pipelines import lineage
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.progress import Progress, ProgressSink, silent
from pipelines.common.versions import code_version
from pipelines.execution.capacity import Capacity, Device, chosen_device, own_capacity, read_capacity
from pipelines.execution.engine_watch import EngineLost
from pipelines.execution.interruptible import beside_main
from pipelines.execution.ray_data import failure_line
from pipelines.execution.ray_session import ray_session
from pipelines.execution.stalls import Stall, stall_reports
from pipelines.recipes.stage_recipe import StageRecipe, with_length
from pipelines.training.batch_shares import BatchShares, Loader
from pipelines.training.engines.process_group import ProcessGroupConfig
from pipelines.training.entry import FinalErrors, train_worker
from pipelines.training.feeder import MOST_REPLACED_SHARE, rows_by_bucket
from pipelines.training.parents import checked_parent, network_of, whole_name
from pipelines.training.phases import phase_folders, phases_of, resumed_from, run_phases
from pipelines.training.plan import TrainJob, TrainPlan, Watcher
from pipelines.training.state.changes import TAMED, Changes, accepted_changes, earlier_changes, recorded_recipe
from pipelines.training.state.history import HISTORY, parsed_history, written_history
from pipelines.training.state.lock import locked
from pipelines.training.state.resumable import MODEL
from pipelines.training.state.store import StateStore, all_damaged
from pipelines.training.stopped import STOPPED
from pipelines.weights.checkpoints import CHECKPOINT, CONFIG, absolute_checkpoint, fetch_checkpoint, metadata_at
from pipelines.weights.frozen import bundled_networks, check_frozen_networks, copy_bundled

MAX_FAILURES = 3
POLL_S = 0.5
CHANGES = "changes.json"
# How a column comes into a corpus that was built without it.
_MADE_BY = {"mask": "--set learned.mask=isnetis", "region_map": "--set regions.lines=drawn"}
ENGINE = ".ray"  # what Ray Train itself writes, while it runs


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """What a stage left behind; `restarts` counts how often lost workers were replaced, `replaced` the samples whose
    planned row could not be used; `damaged`: the states that it passed over, with what is wrong with each."""

    out: str
    checkpoint: str
    images_seen: int
    loss: float
    resumed_from: int
    restarts: int
    replaced: int
    already_complete: bool
    damaged: dict[str, str] = field(default_factory=dict)


def plan_stage(
    recipe: StageRecipe,
    corpus: str,
    out: str,
    parent: str | None,
    workers: int,
    loader: Loader = "threads",
    device: Device = "auto",
    *,
    phase_of: TrainPlan | None = None,
) -> TrainPlan:
    """Resolve and check a stage before anything starts; phase_of: that it is a phase of, in whose snapshot it trains.

    Raises SettingsError for a call that cannot work, PipelineError, DataError or ModelError for what is missing or
    refused: no corpus, no rows, a parent of the wrong kind, an output that holds another recipe or damaged states.
    """
    corpus, out = absolute(corpus), absolute(out)
    check_reachable(out)
    snapshot = open_snapshot(corpus, phase_of.snapshot if phase_of else None)
    rows = snapshot.document["rows"]
    for split in ("train", "validation"):
        if not rows.get(split):
            raise PipelineError(f"{corpus} has no {split} rows; build it from more pictures")
    _check_styles(recipe, snapshot)
    _check_columns(recipe, snapshot)
    recipe = with_length(recipe, _rows_in_step(recipe, snapshot))
    # What it starts from: of the parent only config.json is read, and the frozen networks bundled with it.
    parent = checked_parent(recipe, absolute_checkpoint(parent) if parent else None)
    check_frozen_networks(family(recipe.family), network_of(recipe), parent)
    phases = () if phase_of else phases_of(recipe, _whole_stage(parent))
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
        phases=phases,
    )
    return replace(plan, changes=_accepted_changes(plan))


def _whole_stage(parent: str | None) -> str | None:
    """The stage of a parent with its family before it."""
    if parent is None:
        return None
    found = metadata_at(parent)
    return whole_name(found.stage, found.family)


def check_this_machine(recipe: StageRecipe, workers: int, device: Device) -> None:
    """For a run without a cluster, before anything is read, written or started: PipelineError for GPUs that this
    machine lacks. A Ray that runs in this process already may have others, and is asked when work begins."""
    if not ray.is_initialized():
        _device(recipe, workers, device, own_capacity())


def train_stage(
    plan: TrainPlan,
    *,
    log_file: Path,
    progress: ProgressSink = silent,
    tracking_uri: str | None = None,
    address: str | None = None,
) -> TrainReport:
    """Run `plan` to its end, from where an earlier run of the same plan stopped; returns what it left.

    Raises PipelineError where another run writes the output, before any engine starts, and where training stopped.
    """
    if _is_complete(plan):
        return _report(plan, [_length(plan)], already_complete=True)
    starts: list[int] = []  # images seen at each start of the workers: the first one, and one for each loss of a worker
    damaged: dict[str, str] = {}
    workers = plan.shares.workers
    if address is None:
        check_this_machine(plan.recipe, workers, plan.device)
    if plan.phases:
        return _train_phases(plan, log_file, progress, tracking_uri, address)

    def listen(record: dict[str, Any]) -> None:
        starts.extend([record["images_seen"]] if "start" in record else [])
        damaged.update(record.get("damaged", {}))
        run.log_metrics(record, record["images_seen"])
        _show(plan, record, progress)

    def work() -> None:
        with stall_reports(plan.recipe.stage) as stall, _watcher(listen, stall) as watcher:
            _fit(plan, watcher, token)

    with locked(plan.out) as token:
        document = _recorded(plan)
        with (
            ray_session(log_file, num_cpus=None if address else workers + 2, address=address) as session,
            lineage.run("train", plan.recipe.stage, plan.out, tracking_uri, plan.recipe.flat()) as run,
        ):
            session.run(work)
            _keep(plan, document)
            run.finish(plan_node(plan), _inputs(plan))
    return replace(_report(plan, starts, already_complete=False), damaged=damaged)


def _train_phases(
    plan: TrainPlan, log_file: Path, progress: ProgressSink, tracking_uri: str | None, address: str | None
) -> TrainReport:
    """Each phase of a plan as a run of its own; what the last one made becomes the output's."""

    def train(recipe: StageRecipe, out: str, parent: str | None) -> TrainReport:
        done = replace(plan, recipe=recipe, out=out, phases=())
        if _is_complete(done):  # under the settings that it then had
            return _report(done, [recipe.length.images], already_complete=True)
        phase = plan_stage(
            recipe, plan.corpus, out, parent, plan.shares.workers, plan.loader, plan.device, phase_of=plan
        )
        return train_stage(phase, log_file=log_file, progress=progress, tracking_uri=tracking_uri, address=address)

    with (
        locked(plan.out),
        lineage.run("train", plan.recipe.stage, plan.out, tracking_uri, plan.recipe.flat()) as run,
    ):
        document = _recorded(plan)
        reports, history = run_phases(plan.phases, plan.out, plan.parent, train)
        remove(join(plan.out, lineage.LINEAGE))
        last = fetch_checkpoint(reports[-1].checkpoint)
        upload_directory(last, join(plan.out, CHECKPOINT), last=CONFIG)
        # It is of the whole stage: of all its images, and of the parent that this began with.
        whole = json.loads((last / CONFIG).read_text()) | {"images_seen": _length(plan), "parent": plan.parent}
        write_whole(join(plan.out, CHECKPOINT, CONFIG), (json.dumps(whole, indent=2) + "\n").encode())
        write_whole(join(plan.out, CHECKPOINT, "recipe.json"), document)
        write_whole(join(plan.out, HISTORY), written_history(history))
        run.finish(plan_node(plan), _inputs(plan))
    return replace(
        _report(plan, [resumed_from(reports)], already_complete=False),
        restarts=sum(report.restarts for report in reports),
        damaged={uri: why for report in reports for uri, why in report.damaged.items()},
    )


def plan_node(plan: TrainPlan) -> lineage.Node:
    """This stage's checkpoint in the chain of lineage."""
    name = f"{plan.recipe.stage} ({plan.recipe.model_size}, {_length(plan):,} images)"
    return lineage.Node(id=join(plan.out, CHECKPOINT), kind="checkpoint", name=name)


def _is_complete(plan: TrainPlan) -> bool:
    """Whether the output holds the result of a run of this length, and not of a shorter one that goes on."""
    if not exists(join(plan.out, lineage.LINEAGE)) or exists(join(plan.out, STOPPED)):
        return False
    return _images_of(read_history(plan.out)) == _length(plan)


def _length(plan: TrainPlan) -> int:
    """The images of a finished run: those of its phases, where it has some."""
    return sum(recipe.length.images for _, recipe in plan.phases) or plan.recipe.length.images


def _accepted_changes(plan: TrainPlan) -> Changes:
    """What differs from the recipe that the output was begun with, and may. Raises PipelineError for what may not, for
    an output of something else, and where no state is whole that the run could go on from."""
    recorded = join(plan.out, "recipe.json")
    if not exists(recorded):
        if exists(join(plan.out, lineage.LINEAGE)):
            raise PipelineError(f"{plan.out} holds no training run but another result; choose another --out")
        return {}
    store = StateStore(plan.out)
    states = store.kept()
    if not _is_complete(plan):
        if states and all(state.problem for state in states):
            raise all_damaged(plan.out, {state.uri: state.problem for state in states})
        if not states and exists(join(plan.out, lineage.LINEAGE)):
            raise PipelineError(
                f"{plan.out} holds a finished run without its states, so it cannot go on; choose another --out"
            )
    before, wanted = recorded_recipe(recorded), json.loads(json.dumps(plan.document()))
    places = [plan.out, *phase_folders(plan.phases, plan.out)]
    stopped = any(exists(join(place, STOPPED)) for place in places)
    changes = accepted_changes(plan.out, before, wanted, images_seen=store.images_seen(), stopped=stopped)
    if plan.phases and changes.keys() & {"images", "epochs"}:
        raise PipelineError(f"{plan.out} holds a stage of phases, which cannot be made longer; choose another --out")
    return changes


def _recorded(plan: TrainPlan) -> bytes:
    """The recipe, written into the output that it is about to fill, with what changed of an earlier one beside it."""
    document, recipe = json.dumps(plan.document(), indent=2).encode(), join(plan.out, "recipe.json")
    if not create_exclusive(recipe, document) and plan.changes:
        changes, where = join(plan.out, CHANGES), StateStore(plan.out).images_seen()
        earlier = earlier_changes(changes) if exists(changes) else []
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"images_seen": where, "at": now, "changed": {name: list(pair) for name, pair in plan.changes.items()}}
        write_whole(changes, json.dumps([*earlier, entry], indent=2).encode())
        write_whole(recipe, document)
        if any(name.rpartition(".")[2] in TAMED for name in plan.changes):
            remove(join(plan.out, STOPPED))
    return document


def _fit(plan: TrainPlan, watcher: Any, token: str) -> None:
    """Run the workers until the last has ended. Ray Train keeps no state of ours: the workers write and find it."""
    filesystem, path = arrow_filesystem(plan.out)
    on_gpu = _on_gpu(plan)
    job = TrainJob(
        plan=plan,
        code_version=code_version(),
        watcher=watcher,
        token=token,
        on_gpu=on_gpu,
        threads=int(os.environ.get("OMP_NUM_THREADS", 0)) or None,
    )
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        torch_config=ProcessGroupConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=plan.shares.workers, use_gpu=on_gpu),
        run_config=RunConfig(
            name=ENGINE,
            storage_path=path if is_s3(plan.out) else str(Path(path).resolve()),
            storage_filesystem=filesystem if is_s3(plan.out) else None,
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            callbacks=[FinalErrors()],  # type: ignore[list-item]  # Ray's hints are of its first version
        ),
    )
    try:
        # In the main thread Ray Train would take SIGINT for itself, and end it as exit 0.
        beside_main(trainer.fit, "trainer")
    except ray.train.TrainingFailedError as error:
        final = getattr(error, "controller_failure", None)
        if isinstance(final, PipelineError):
            raise PipelineError(str(final)) from error
        raise PipelineError(f"training {plan.recipe.stage} failed: {failure_line(error)}") from error
    delete_folder(join(plan.out, ENGINE))


def _check_styles(recipe: StageRecipe, snapshot: Snapshot) -> None:
    """Raises PipelineError where the corpus lacks sketches that the recipe opens, naming those that it has."""
    sketches = [name for name in snapshot.document["operators"] if name.startswith("sketch_")]
    known = [name.removeprefix("sketch_") for name in sketches if not name.endswith("mask")]
    if absent := [style for style in recipe.samples.styles if style not in known]:
        raise PipelineError(
            f"{snapshot.uri} has no sketches of the style {' and '.join(absent)}, which {recipe.stage} "
            f"({recipe.model_size}) opens. Train on those that it has with --set styles={','.join(known)}, or build a "
            "corpus that has them (docs/recipes.md)"
        )


def _check_columns(recipe: StageRecipe, snapshot: Snapshot) -> None:
    """Raises PipelineError where the corpus lacks a column that the stage needs, with the setting that makes it."""
    for column in stage_kind(recipe.stage).columns(recipe.method):
        found = [
            CorpusReader(snapshot.uri, split, [column], snapshot.number, facts=False).lacking(column)
            for split in ("train", "validation")
        ]
        lacking, looked_at = (sum(counts) for counts in zip(*found, strict=True))
        if found[0][0] > MOST_REPLACED_SHARE * found[0][1] or found[1][0]:
            raise PipelineError(
                f"of {looked_at} rows of {snapshot.uri} that were looked at, {lacking} have no {column}, "
                f"which {recipe.stage} needs of all: irodori corpus build --out {snapshot.uri} {_MADE_BY[column]} and "
                "the sources it was built of, or without those that have none"
            )


def _rows_in_step(recipe: StageRecipe, snapshot: Snapshot) -> list[int]:
    """The training rows that steps are made of: all together, or those of each bucket."""
    if recipe.samples.sizes != "buckets":
        return [snapshot.document["rows"]["train"]]
    return [len(rows) for rows in rows_by_bucket(recipe, RowIndex.open(snapshot, "train")).values()]


def _on_gpu(plan: TrainPlan) -> bool:
    """Whether the workers ask for a GPU each, else for a CPU. Raises PipelineError for what the cluster cannot have."""
    workers, capacity = plan.shares.workers, read_capacity()
    device = _device(plan.recipe, workers, plan.device, capacity)
    free = capacity.cpus - (workers if device == "cpu" else 0)
    if plan.loader == "ray" and free < 1 and capacity.types is not None:
        raise PipelineError(
            f"loading as Ray tasks needs a CPU beside those of the {plan.shares.workers} workers; "
            "add a CPU node, take fewer workers, or load in threads: --loader threads"
        )
    return device == "cuda"


def _device(recipe: StageRecipe, workers: int, asked: Device, capacity: Capacity) -> Literal["cpu", "cuda"]:
    work = f"{recipe.stage} at size {recipe.model_size} with {workers} worker{'s' if workers > 1 else ''}"
    return chosen_device(asked, capacity, gpus=workers, needs_gpu=recipe.needs_gpu, work=work)


def _keep(plan: TrainPlan, document: bytes) -> None:
    """Copy the final model and history out of the last state, and frozen networks from the parent, so that the result
    is used with what it was trained with; the recipe is written again, beside what it made."""
    store = StateStore(plan.out)
    if store.images_seen() != plan.recipe.length.images:
        raise PipelineError(f"training {plan.recipe.stage} ended without its last state in {store.folder}")
    remove(join(plan.out, lineage.LINEAGE))  # of a shorter run, whose result is replaced from here on
    if plan.parent and plan.frozen:
        copy_bundled(plan.frozen, fetch_checkpoint(plan.parent), join(plan.out, CHECKPOINT))
    with store.fetched(store.kept()[0]) as folder:
        upload_directory(folder / MODEL, join(plan.out, CHECKPOINT), last=CONFIG)
        write_whole(join(plan.out, HISTORY), (folder / HISTORY).read_bytes())
    write_whole(join(plan.out, CHECKPOINT, "recipe.json"), document)
    if exists(join(plan.out, CHANGES)):
        write_whole(join(plan.out, CHECKPOINT, CHANGES), read_bytes(join(plan.out, CHANGES)))
    remove(join(plan.out, STOPPED))


def read_history(out: str) -> list[dict[str, Any]]:
    """One record for each step of a finished stage, and one for each validation."""
    where = join(out, HISTORY)
    return parsed_history(read_bytes(where), where)


def _steps(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in history if "loss" in record]


def _images_of(history: list[dict[str, Any]]) -> int:
    """The images seen at the end of a history."""
    return max((record["images_seen"] for record in _steps(history)), default=0)


def _report(plan: TrainPlan, starts: list[int], already_complete: bool) -> TrainReport:
    history = read_history(plan.out)
    last = _steps(history)[-1]
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
    elif "start" in record and (record["images_seen"] or record["damaged"]):
        passed = [f"{uri.removeprefix(plan.out)[1:]} is damaged" for uri in record["damaged"]]
        note = ", ".join([f"goes on from {record['images_seen']:,} images", *passed])
    else:
        return
    rate = record.get("images_per_second")
    progress(Progress(plan.recipe.stage, record["images_seen"], plan.recipe.length.images, "images", rate, note))


@contextmanager
def _watcher(listen: Callable[[dict[str, Any]], None], stall: Stall) -> Iterator[Any]:
    """A watcher actor, and a thread here that hands its records to `listen` until the block ends, or Ray does."""
    actor: Any = ray.remote(num_cpus=0)(Watcher).remote()
    ended, lost = threading.Event(), threading.Event()

    def poll() -> None:
        finished = False
        while not finished:
            finished = ended.wait(POLL_S)
            if lost.is_set():
                return  # nobody is left to ask, and to ask might start another Ray
            try:
                records = ray.get(actor.take.remote())
            except ray.exceptions.RayError:
                return  # the engine is gone, which the session notices
            for record in records:
                stall.ended()
                listen(record)

    thread = threading.Thread(target=poll, name="watcher", daemon=True)
    thread.start()
    try:
        yield actor
    except EngineLost:
        lost.set()  # nobody is left to answer, and Ray would wait for it
        raise
    finally:
        ended.set()
        if not lost.is_set():
            thread.join(timeout=30)
            ray.kill(actor)
