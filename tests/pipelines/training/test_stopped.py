"""A step whose numbers are not finite stops every worker alike, names its samples, and leaves what can be gone on from.

Two real processes with gloo; only one of them meets the infinite loss.
"""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import save_file

from dataprep.corpus.row_index import RowIndex
from dataprep.corpus.snapshot import open_snapshot
from pipelines.common.errors import PipelineError
from pipelines.training.feeder import Feeder, open_split, sample_plans
from pipelines.training.plan import TrainJob, TrainPlan
from pipelines.training.stage import plan_stage
from pipelines.training.state.lock import Holder
from pipelines.training.state.resumable import Position
from pipelines.training.state.store import StateStore
from pipelines.training.step import build_stage, start_engines, training_step
from pipelines.training.stopped import STOPPED, Part, Stop, is_not_finite, not_finite, record_stop
from pipelines.training.worker import Run, _checkpoint, _stop_at_step
from tests.pipelines.training.train_helpers import BATCH, quick_recipe

HISTORY: list[dict[str, Any]] = [{"images_seen": BATCH, "loss": 0.5}]


class Harmed:
    """A stage of the suite's own family whose loss is infinite on one rank."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def objective(self, *given: Any) -> torch.Tensor:
        loss: torch.Tensor = self._stage.objective(*given)
        return loss * float("inf") if dist.get_rank() == 1 else loss


def rank_main(rank: int, port: int, plan: TrainPlan) -> None:
    """One step from 8 images on; what each rank is stopped with is written beside the output."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK="0", PATH="")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    stage, config = build_stage(plan.recipe, None, torch.device("cpu"))
    engines = start_engines(stage, plan.recipe, plan.shares)
    job = TrainJob(plan=plan, code_version="test", watcher=None, token="")
    run = Run(job, stage, config, engines, {}, rank, StateStore(plan.out))
    reader = open_split(plan.corpus, "train", plan.recipe, stage.needs, plan.snapshot)
    feeder = Feeder(reader, plan.recipe, stage, shares=plan.shares, rank=rank, images_seen=BATCH)
    step = training_step(Harmed(stage), engines, plan.recipe, plan.shares, feeder, BATCH)
    wrong = not_finite(step.losses | step.gradient_norms)
    try:
        _stop_at_step(run, feeder, Position(BATCH, HISTORY), step, wrong)
    except PipelineError as error:
        Path(f"{plan.out}-{rank}.txt").write_text(str(error))
    # Weights that are not finite are never kept, whatever the loss was.
    if rank == 0:
        Path(plan.out, STOPPED).rename(f"{plan.out}-{STOPPED}")
        job = replace(job, token=_hold(plan.out))
        run = replace(run, job=job)
    next(iter(stage.networks.values())).requires_grad_(True)
    with torch.no_grad():
        next(iter(next(iter(stage.networks.values())).parameters())).fill_(float("nan"))
    try:
        _checkpoint(run, Position(2 * BATCH, HISTORY))
    except PipelineError as error:
        Path(f"{plan.out}-{rank}-weights.txt").write_text(str(error))
    feeder.close()
    dist.barrier()
    dist.destroy_process_group()


def _hold(out: str) -> str:
    holder = Holder.this_process()
    Path(out, ".lock").mkdir(parents=True, exist_ok=True)
    Path(out, ".lock", "00000001.json").write_text(json.dumps(vars(holder)))
    return holder.token


@pytest.fixture(scope="module")
def plan(drawn_corpus: str, tmp_path_factory: pytest.TempPathFactory) -> TrainPlan:
    """A run of two workers that both were stopped."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    recipe = quick_recipe("duel.draw", micro_batch=2)
    plan = plan_stage(recipe, drawn_corpus, str(out), None, workers=2)
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    mp.spawn(rank_main, args=(port, plan), nprocs=2)  # type: ignore[attr-defined]
    return plan


@pytest.mark.seconds
def test_an_infinite_loss_on_one_worker_stops_all_with_the_samples_that_gave_it(plan: TrainPlan) -> None:
    one, other = (Path(f"{plan.out}-{rank}.txt").read_text() for rank in (0, 1))
    assert one == other
    assert one.startswith("training duel.draw stopped at step 2 (16 images): not finite: its loss nan")
    assert "its loss discriminator inf" in one
    assert "its gradient norm nan" in one
    assert "It was made of samples 12 to 15 (rows " in one  # those of the second worker, in micro-batches of two
    rows, _ = sample_plans(plan.recipe, index := RowIndex.open(open_snapshot(plan.corpus), "train"))
    document = json.loads(Path(f"{plan.out}-{STOPPED}").read_text())
    assert [part["ordinals"] for part in document["samples"]] == [[8, 9], [10, 11], [12, 13], [14, 15]]
    assert document["samples"][2]["rows"] == [index.id(rows.row_of(ordinal)) for ordinal in (12, 13)]
    assert document["samples"][2]["losses"]["discriminator"] == "inf"
    assert isinstance(document["samples"][0]["losses"]["discriminator"], float)


@pytest.mark.seconds
def test_the_record_up_to_there_is_kept_and_weights_that_are_not_finite_are_not(plan: TrainPlan) -> None:
    assert [json.loads(line) for line in Path(plan.out, "history.jsonl").read_text().splitlines()] == HISTORY
    one, other = (Path(f"{plan.out}-{rank}-weights.txt").read_text() for rank in (0, 1))
    assert one == other
    assert "its state, weights: " in one
    assert "is not finite" in one
    assert StateStore(plan.out).kept() == []


def stop(out: Path, at: int, images_seen: int, **changes: Any) -> str:
    """What is said of a step from `at` images on, after states at 8 and 16 images."""
    store = StateStore(str(out))
    for images in (8, 16):
        store.write(images, lambda folder: save_file({"a": torch.zeros(1)}, folder / "trained.safetensors"))
    found = Stop(is_not_finite({"loss": float("nan")}), images_seen, {}, [Part([at], ["row"], {"": float("nan")})])
    return record_stop(found, quick_recipe(**changes), store, Position(at, []))


def test_the_message_says_with_which_change_the_same_command_goes_on(tmp_path: Path) -> None:
    said = stop(tmp_path, 24, 32, learning_rate=1.0, gradient_clip=0.0)
    wanted = "The same command goes on from 16 images, calmer with --set learning_rate=0.1 or --set gradient_clip=1."
    assert wanted in said
    assert said.endswith(f"Details: {tmp_path}/stopped.json")


def test_a_state_whose_next_step_is_not_finite_leads_nowhere_and_is_deleted(tmp_path: Path) -> None:
    assert "goes on from 8 images" in stop(tmp_path, 16, 24)
    assert [state.images_seen for state in StateStore(str(tmp_path)).kept()] == [8]


def test_only_numbers_that_are_not_finite_are_found() -> None:
    numbers = {"images_seen": 8, "loss": 0.5, "gradient_norm": float("inf"), "replaced": [], "other": float("nan")}
    assert not_finite(numbers).keys() == {"gradient_norm", "other"}
    assert not_finite({"loss": 1e300}) == {}
