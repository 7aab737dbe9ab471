"""What travels to the processes of a training run, in a module that imports nothing heavy.

Ray's controller and the watcher unpickle these by name; they would otherwise import torch and everything behind it,
seconds and a gigabyte each, to hold a few numbers.
"""

from dataclasses import dataclass
from typing import Any

from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.batch_shares import Loader


@dataclass(frozen=True)
class TrainJob:
    """What every worker is told. `watcher` is the actor that the driver listens to.

    `threads` is what OMP_NUM_THREADS asks for on the driver; None shares a machine's cores among its workers.
    """

    recipe: StageRecipe
    corpus: str
    snapshot: int
    digest: str
    out: str
    parent: str | None
    code_version: str
    watcher: Any
    threads: int | None = None
    loader: Loader = "threads"


def train_worker(settings: dict[str, Any]) -> None:
    """Entry point of a Ray Train worker; `settings` holds the TrainJob under `job`."""
    from pipelines.training.worker import run_worker

    run_worker(settings["job"])


class Watcher:
    """An actor that holds what rank 0 said until the driver asks for it."""

    def __init__(self) -> None:
        self._records: list[dict[str, Any]] = []

    def post(self, record: dict[str, Any]) -> None:
        """Keep one record."""
        self._records.append(record)

    def take(self) -> list[dict[str, Any]]:
        """All records since the last call."""
        records, self._records = self._records, []
        return records
