"""What every phase of a corpus build has to know."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from dataprep.errors import DataError
from dataprep.operators.operator import Operator
from dataprep.plan.scan import VERSION as SCAN_VERSION
from dataprep.storage import store as storage
from pipelines.common.progress import ProgressSink, silent
from pipelines.corpus_build.tasks import FAULTS, ROW
from pipelines.execution.ray_data import Engine, over_ray
from pipelines.recipes.build_recipe import BuildRecipe


@dataclass(frozen=True, kw_only=True)
class BuildJob:
    """Where a corpus is built, by what recipe, and on what engine; `retry`: reasons of failures to be tried again.

    `columns`: the derived columns of the recipe, each after those that it reads; made once for the whole build.
    """

    out: str
    recipe: BuildRecipe
    columns: tuple[Operator, ...]
    retry: tuple[str, ...] = ()
    progress: ProgressSink = silent
    engine: Engine = over_ray
    name: str = field(default_factory=lambda: uuid.uuid4().hex)  # two builds of one corpus may run at once

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The `row` column and the derived ones."""
        return (row_operator(self.recipe), *self.columns)

    @property
    def folder(self) -> str:
        """Where the tables lie from which the tasks of this build read their rows."""
        return storage.join(self.out, "plan", self.name)

    @property
    def faults(self) -> str:
        """Where the calls are recorded that ended a worker of this build."""
        return storage.join(self.folder, FAULTS)

    @contextmanager
    def working_folder(self) -> Iterator[None]:
        """The folder is deleted at the end, however it comes to it."""
        try:
            yield
        finally:
            with suppress(DataError):  # no reason to lose a build or its error: garbage collection takes what is left
                storage.delete_folder(self.folder)


def row_operator(recipe: BuildRecipe) -> Operator:
    """The `row` column as an operator, for its fingerprint: what a row says depends on scan, split and buckets."""
    settings = {"validation_share": recipe.validation_share, "buckets": list(recipe.buckets.sizes)}
    settings |= recipe.canvas.described()
    return Operator(ROW, "scan", SCAN_VERSION, lambda _: None, settings)
