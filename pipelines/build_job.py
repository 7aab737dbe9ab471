"""What every phase of a corpus build has to know."""

import uuid
from dataclasses import dataclass, field

from dataprep import storage
from dataprep.operators import CorpusRecipe
from pipelines.build_tasks import Engine, over_ray
from pipelines.progress import ProgressSink, silent


@dataclass(frozen=True)
class BuildJob:
    """Where a corpus is built, by what recipe, and on what engine; `retry`: reasons of failures to be tried again."""

    out: str
    recipe: CorpusRecipe
    retry: tuple[str, ...] = ()
    progress: ProgressSink = silent
    engine: Engine = over_ray
    name: str = field(default_factory=lambda: uuid.uuid4().hex)  # two builds of one corpus may run at once

    @property
    def folder(self) -> str:
        """Where the tables lie from which the tasks of this build read their rows."""
        return storage.join(self.out, "plan", self.name)
