"""What a training run is, in a module that imports nothing heavy.

Ray's controller and the watcher unpickle these by name; they would otherwise import torch and everything behind it,
seconds and a gigabyte each, to hold a few numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.execution.capacity import Device
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.batch_shares import BatchShares, Loader
from pipelines.training.state.changes import Changes


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """A stage that is ready to start: the resolved recipe, its inputs and how the batch is dealt out.

    parent: the address of a checkpoint; parent_weights: the sha256 of its weights; frozen: the networks bundled with
    it, file -> sha256. rows: of each split. device: what was asked for; the cluster decides what "auto" is. changes:
    what differs from the recipe that the output was begun with. phases: of a stage that is trained as several runs, the
    name and the recipe of each.
    """

    recipe: StageRecipe
    corpus: str
    snapshot: int
    digest: str
    rows: dict[str, int]
    out: str
    parent: str | None
    parent_weights: str | None
    shares: BatchShares
    loader: Loader = "threads"
    device: Device = "auto"
    frozen: Mapping[str, str] = field(default_factory=dict)
    changes: Changes = field(default_factory=dict)
    phases: tuple[tuple[str, StageRecipe], ...] = ()

    def document(self) -> dict[str, Any]:
        """What decides the result, as saved in recipe.json; workers, loader and device are no part of it."""
        inputs = {"corpus_digest": self.digest, "parent_weights": self.parent_weights}
        return self.recipe.flat() | inputs | ({"frozen_weights": dict(self.frozen)} if self.frozen else {})


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """The plan as every worker gets it. `watcher` is the actor that the driver listens to.

    on_gpu: whether each worker was given a GPU. `threads` is what OMP_NUM_THREADS asks for on the driver; None shares a
    machine's cores among its workers. `token` is that of the driver's lock on the output.
    """

    plan: TrainPlan
    code_version: str
    watcher: Any
    token: str
    on_gpu: bool = False
    threads: int | None = None

    @property
    def recipe(self) -> StageRecipe:
        """The plan's."""
        return self.plan.recipe


class Watcher:
    """An actor that holds what rank 0 posted until the driver takes it."""

    def __init__(self) -> None:
        self._records: list[dict[str, Any]] = []

    def post(self, record: dict[str, Any]) -> None:
        """Keep one record."""
        self._records.append(record)

    def take(self) -> list[dict[str, Any]]:
        """All records since the last call."""
        records, self._records = self._records, []
        return records
