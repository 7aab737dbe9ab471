"""The engines of the pipelines: work on many tasks, on Ray or in this process, and the one place that meets Ray Data.

A task is JSON-able, small, named before it starts, and what it does is written whole; so a task that is repeated, on
any worker, after any crash, ends the same. Work may fall into steps, some of which hold networks: on a GPU these have
actors of their own, beside the tasks that decode and write, and a shard wanders from one to the next.
"""

import json
import re
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dataprep.errors import DataError
from dataprep.limits import expendable
from dataprep.storage import store as storage
from model.errors import ModelError
from pipelines.common.errors import PipelineError
from pipelines.execution.capacity import Capacity, chosen_device, no_cuda, read_capacity
from pipelines.execution.stalls import stall_reports
from pipelines.recipes.build_recipe import NetworkSettings

_OURS = re.compile(r"^(?:dataprep|model|eval|pipelines)(?:\.\w+)+Error: ")
Task = dict[str, Any]  # JSON-able
Work = Callable[[Task], Task]
Engine = Callable[[Work, Sequence[Task]], Iterator[Task]]  # gives the results as they end, in any order


@dataclass(frozen=True)
class Step:
    """A part of the work on a task; `networks` where it holds networks, which wants processes that stay."""

    work: Work
    networks: NetworkSettings | None = None


@dataclass(frozen=True)
class Steps:
    """Work in steps, one after another for each task. An engine may give each step processes of its own."""

    steps: tuple[Step, ...]

    def __call__(self, task: Task) -> Task:
        for step in self.steps:
            task = step.work(task)
        return task


@dataclass(frozen=True)
class Actors:
    """How many processes hold networks, from the first that can start to `most`, and what each takes of a machine."""

    most: int
    cpus: int
    gpus: float


def in_process(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
    """One task after another without Ray: for a notebook, or to tell the work from its engine."""
    return map(work, tasks)


def over_ray(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
    """`work` on each task, one block and one CPU each; results as they end. A DataError of a task is raised here.

    Ray Data tries a task whose worker or node is lost again, without bound; dataprep.limits sees to it that it ends.
    """
    import ray
    from ray.data import ActorPoolStrategy

    from pipelines.execution.ray_session import set_data_context

    if not tasks:
        return
    set_data_context()  # the Ray that runs may be nobody's session
    # One block for each task, through each part of the work in tasks or in actors.
    blocks: Any = ray.data.from_items([{"task": json.dumps(task)} for task in tasks], override_num_blocks=len(tasks))
    build = uuid.uuid4().hex
    for part, actors in placed(work, _capacity(work), len(tasks)):
        if actors is None:
            blocks = blocks.map_batches(partial(_run_block, part, build), batch_size=None, num_cpus=1)
        else:
            blocks = blocks.map_batches(
                _Held,
                batch_size=1,  # the block's one task; Ray takes no other word for "as it is" where GPUs are asked for
                fn_constructor_args=(part, build, actors.cpus, actors.gpus > 0),
                compute=ActorPoolStrategy(min_size=1, max_size=actors.most),
                num_cpus=actors.cpus,
                num_gpus=actors.gpus or None,
            )
    # Results as they come; a failure of ours is raised as its own kind.
    try:
        with stall_reports(f"{len(tasks)} tasks") as stall:
            for row in blocks.iter_rows():
                stall.ended()
                yield json.loads(row["task"])
                stall.ended()  # what was done with it is no waiting
    except ray.exceptions.RayTaskError as error:
        for kind in (DataError, PipelineError, ModelError):
            if isinstance(error.cause, kind):
                raise kind(failure_line(error)) from error
        raise


def failure_line(error: BaseException) -> str:
    """What went wrong in a worker, in one line: without the stack that Ray puts in front, or the lines it adds, and
    without the class of an error of ours."""
    return _OURS.sub("", _failure_line(error))


def _failure_line(error: BaseException) -> str:
    lines = [str(failure).strip().splitlines()[-1:] for failure in getattr(error, "worker_failures", {}).values()]
    if any(lines):  # Ray Train: the last line of the first worker's traceback
        return next(line for found in lines for line in found)
    cause = getattr(error, "cause", None)
    return str(cause).strip().splitlines()[0] if cause else str(error).strip().splitlines()[-1].strip()


def check_devices(work: Work) -> None:
    """Before work starts: PipelineError where a step of it wants a GPU that can never be there."""
    placed(work, _capacity(work), 1)


def _capacity(work: Work) -> Capacity:
    """What the Ray that runs has and can bring, where the work asks for something."""
    asks = isinstance(work, Steps) and any(step.networks is not None for step in work.steps)
    return read_capacity() if asks else Capacity(())


def placed(work: Work, capacity: Capacity, tasks: int) -> list[tuple[Work, Actors | None]]:
    """The steps of the work, each with its actors; None: plain tasks. Neighbours without actors become one.

    On CPUs alone networks run within the tasks, whose processes keep them. Actors are taken where there are GPUs or the
    cluster can bring them, where settings ask for one (`device=cuda`), or for actors. Raises PipelineError for GPUs
    that were asked for and can never be there.
    """
    if not isinstance(work, Steps):
        return [(work, None)]
    found: list[tuple[Work, Actors | None]] = []
    learned = sum(step.networks is not None for step in work.steps)
    for step in work.steps:
        actors = _actors(step.networks, capacity, tasks, learned) if step.networks else None
        if actors is None and found and found[-1][1] is None:
            before = found[-1][0]
            earlier = before.steps if isinstance(before, Steps) else (Step(before),)
            found[-1] = (Steps((*earlier, step)), None)
        else:
            found.append((step.work, actors))
    return found


def _actors(networks: NetworkSettings, capacity: Capacity, tasks: int, steps: int) -> Actors | None:
    """The actors of one of `steps` steps that share the machines, and no more than there are tasks."""
    instead = "--set networks.device=cpu"
    device = chosen_device(
        networks.device, capacity, gpus=1, needs_gpu=False, work="a network of the recipe", instead=instead
    )
    if device == "cuda":
        machines = capacity.machines()
        room = sum(min(int(gpus * networks.per_gpu), int(cpus) // networks.cpus) for cpus, gpus in machines)
        most = networks.actors or room // steps or tasks
        return Actors(min(most, tasks), networks.cpus, 1 / networks.per_gpu)
    if not networks.actors and networks.cpus == 1:
        return None
    spare = capacity.cpus - 1  # the tasks beside them need one
    room = spare // networks.cpus // steps
    if room < 1 or networks.actors > room:
        asked = max(1, networks.actors) * networks.cpus * steps
        raise PipelineError(
            f"networks: {asked} CPUs for actors and 1 for the tasks beside them are more than the {spare + 1} there "
            "are. Lower networks.actors or networks.cpus."
        )
    return Actors(min(networks.actors or room, tasks), networks.cpus, 0.0)


def _run_block(work: Work, build: str, block: dict[str, Any]) -> dict[str, Any]:
    import cv2

    cv2.setNumThreads(1)  # the task has one CPU
    storage.wait_out_outages()  # the driver has reached the store
    with expendable(build):
        return {"task": np.array([json.dumps(work(json.loads(task))) for task in block["task"]], dtype=object)}


class _Held:
    """An actor: a process that stays, and with it the networks that its work has loaded."""

    def __init__(self, work: Work, build: str, cpus: int, on_gpu: bool = False) -> None:
        import torch

        torch.set_num_threads(cpus)
        self._run = partial(_run_block, work, build)
        self._blind = on_gpu and not torch.cuda.is_available()

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        if self._blind:  # here and not at its start, after which Ray would only start it again
            raise no_cuda(socket.gethostname())
        return self._run(block)
