"""The recipe of a corpus: every setting that decides what it holds, but for its sources."""

import re
from dataclasses import dataclass, field

from dataprep.limits import LimitSettings
from dataprep.lines.region_map import RegionSettings
from dataprep.lines.strokes import StrokeSettings
from dataprep.lines.xdog import XDoGColumns
from dataprep.operators.learned_columns import LearnedSettings
from dataprep.operators.styles import StyleSettings
from dataprep.pictures.canvas import CanvasSettings
from dataprep.plan.filters import FilterSettings
from dataprep.samples.buckets import BucketSettings
from dataprep.sources.selection import Selection

_DOTTED = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True)
class CorpusRecipe:
    """Everything that decides what a corpus holds, but for its sources. `seed` draws for each row what is
    drawn by lot: XDoG's sigma, and which styles it gets.

    extra_operators: "module:function", each a function (recipe, operators so far by column) -> Operator.
    `weights_sha256` is filled in when a build starts: "name=sha256" of the weights that its learned operators take.
    """

    select: Selection = field(default_factory=Selection)
    filters: FilterSettings = field(default_factory=FilterSettings)
    canvas: CanvasSettings = field(default_factory=CanvasSettings)
    xdog: XDoGColumns = field(default_factory=XDoGColumns)
    styles: StyleSettings = field(default_factory=StyleSettings)
    learned: LearnedSettings = field(default_factory=LearnedSettings)
    weights_sha256: tuple[str, ...] = ()
    strokes: StrokeSettings = field(default_factory=StrokeSettings)
    regions: RegionSettings = field(default_factory=RegionSettings)
    buckets: BucketSettings = field(default_factory=BucketSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    extra_operators: tuple[str, ...] = ()
    validation_share: float = 0.05
    shard_rows: int = 256
    batch_rows: int = 256  # buckets of a split with fewer rows than this, one global batch, are reported
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.validation_share < 1.0:
            raise ValueError(f"validation_share must be in [0, 1), got {self.validation_share}")
        for name in ("shard_rows", "batch_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in self.extra_operators:
            if not _DOTTED.fullmatch(name):
                raise ValueError(f"extra operator {name!r} is not of the form module:function")


#                   what it is for                         what it changes
CORPUS_RECIPES = {
    "plain": CorpusRecipe(),  # pictures of any kind
    # few pictures: more of them to score, finer progress, small batches
    "demo": CorpusRecipe(validation_share=0.15, shard_rows=64, batch_rows=16),
}
