"""How a run finds the state that it goes on from: the newest that every worker could read, or none.

A state that is damaged is passed over for the one before. All ranks agree on each, by torch.distributed alone.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch.distributed as dist

from dataprep.errors import DataError
from model.errors import ModelError
from model.stage import Stage
from pipelines.common.errors import PipelineError
from pipelines.training.state.resumable import Engines, Position, TrainedState, read_state, restore
from pipelines.training.state.store import Kept, StateStore, all_damaged


@dataclass(frozen=True)
class Place:
    """Which machine a worker is on, and which of its workers it is: the first of each fetches and checks."""

    node: int = 0
    local_rank: int = 0


@dataclass
class Resumed:
    """Where a run goes on, and the states that it passed over: address -> what is wrong with it."""

    position: Position = field(default_factory=Position)
    damaged: Mapping[str, str] = field(default_factory=dict)


def resume(store: StateStore, place: Place, stage: Stage, engines: Engines, with_average: bool) -> Resumed:
    """Put the newest whole state into the engines; every rank calls it. A fresh start where there is no state.

    Raises PipelineError where there are states and none is whole, with what is wrong with each.
    """
    if dist.get_rank() == 0:
        store.sweep()  # of a worker that was killed while it wrote
    damaged: dict[str, str] = {}
    states: list[Kept] = everywhere(store.kept() if dist.get_rank() == 0 else None)[0]
    for state in states:
        found, problem = _read(store, state, place, with_average)
        if found is not None:
            restore(stage, engines, found[0])
            return Resumed(found[1], damaged)
        damaged[state.uri] = problem.removeprefix(f"{state.uri}: ")
        store.damaged.add(state.uri)
    if damaged:
        raise all_damaged(store.out, damaged)
    for engine in engines.values() if with_average else ():
        engine.start_average()
    return Resumed()


def _read(
    store: StateStore, state: Kept, place: Place, with_average: bool
) -> tuple[tuple[TrainedState, Position] | None, str]:
    """The state as all ranks have read it, or why one of them could not."""
    with ExitStack() as held:
        # Once on each machine: its files, byte by byte.
        folder, problem = "", ""
        if place.local_rank == 0:
            try:
                folder = str(held.enter_context(store.fetched(state)))
            except (PipelineError, DataError) as error:
                problem = str(error)
        fetched = everywhere((place.node, folder, problem))
        if problem := next((said for *_, said in fetched if said), ""):
            return None, problem
        # Then by every rank, from the files of its machine.
        found = None
        try:
            mine = next(path for node, path, _ in fetched if node == place.node and path)
            found = read_state(Path(mine), with_average)
        except ModelError as error:
            problem = str(error)
        problem = next((said for said in everywhere(problem) if said), "")
        return (None, problem) if problem else (found, "")


def everywhere(value: Any) -> list[Any]:
    """What each rank has, by rank; every rank must ask."""
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered
