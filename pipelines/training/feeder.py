"""Feeds a training worker: planned samples, loaded and augmented beside the trainer.

Which row a sample is, at what size and how it is augmented follow from (seed, ordinal) alone, so any rank computes its
own part, every rank's step has the same shape, and a restart goes on at the exact sample (DESIGN sections 3 and 5).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, Protocol
from zlib import crc32

import numpy as np
import torch

from dataprep.corpus.reader import CorpusReader
from dataprep.corpus.row_index import RowIndex
from dataprep.errors import DataError
from dataprep.samples.buckets import BucketSettings, assign_buckets, bucket_size
from dataprep.samples.deformation import FULL, DeformationSettings
from dataprep.samples.sample import Sample
from dataprep.samples.sample_plan import (
    BucketPlan,
    FixedSize,
    RandomSize,
    RowPlan,
    Rows,
    SamplePlan,
    SecondRows,
    SizePlan,
)
from dataprep.samples.sample_settings import SampleSettings
from model.batch import Batch, Draw, Needs
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.batch_shares import BatchShares, Loader
from pipelines.training.draws import draw
from pipelines.training.picture_loaders import Candidates, Pictures, Replaced, picture_loader

# More replaced samples than this, and more than this share of what a worker has taken, stop a stage.
MOST_REPLACED = 16
MOST_REPLACED_SHARE = 0.05
_log = logging.getLogger(__name__)


def stage_seed(recipe: StageRecipe) -> int:
    """The run's seed, told apart by stage, so that two stages do not see the same samples in the same order."""
    return (recipe.seed * 1_000_003 + crc32(recipe.stage.encode())) % 2**31


def sample_settings(recipe: StageRecipe, needs: Needs) -> SampleSettings:
    """How a sample is made: what the recipe says of sizes and crops, and what the stage needs."""
    samples = recipe.samples
    return SampleSettings(
        width=samples.width,
        height=samples.height,
        rescale_max=samples.rescale_max,
        sketch_crop_max=samples.sketch_crop_max,
        styles=samples.styles,
        simplified=samples.simplified,
        reference_size=needs.reference_size,
        pictures=needs.pictures,
        reference_crop=needs.reference_crop,
        tags=needs.tags,
        deformation=DeformationSettings(**needs.deformation) if needs.deformation else FULL,
        recolored=samples.recolored,
        palette_references=samples.palette_references,
    )


def open_split(
    corpus: str, split: str, recipe: StageRecipe, needs: Needs, snapshot: int, *, facts: bool = False
) -> CorpusReader:
    """The rows of a split with the columns that a stage's samples are made of; facts: with groups and tags too."""
    settings = sample_settings(recipe, needs)
    facts = facts or needs.tags or settings.draws_assembled()
    return CorpusReader(corpus, split, settings.columns(), snapshot, facts=facts)


def sample_plans(recipe: StageRecipe, index: RowIndex) -> tuple[RowPlan, SizePlan]:
    """Which row each sample of a stage is, and at what size it is made."""
    seed, every = stage_seed(recipe), SamplePlan(len(index), stage_seed(recipe))
    if recipe.samples.sizes == "fixed":
        return every, FixedSize(recipe.samples.width, recipe.samples.height)
    if recipe.samples.sizes == "random":
        return every, RandomSize(
            *recipe.samples.size_range, recipe.samples.size_multiple, recipe.length.batch_size, seed
        )
    plan = BucketPlan(rows_by_bucket(recipe, index), recipe.length.batch_size, seed, recipe.samples.bucket_weights)
    return plan, plan


def rows_by_bucket(recipe: StageRecipe, index: RowIndex) -> Mapping[str, Rows]:
    """The rows of each bucket of the stage: the corpus's own, or those of the recipe, by nearest aspect ratio."""
    names = np.array(index.buckets)
    if recipe.samples.bucket_sizes:
        sides = np.array([bucket_size(bucket) for bucket in index.buckets])
        names = assign_buckets(sides[:, 0], sides[:, 1], BucketSettings(recipe.samples.bucket_sizes))
    return {
        str(name): np.flatnonzero((names == name)[index.bucket_codes]).astype(np.int32) for name in np.unique(names)
    }


def second_rows(reader: CorpusReader, recipe: StageRecipe, needs: Needs, seed: int) -> SecondRows | None:
    """Which row the second reference, or the palette reference, of each sample shows, where there is one."""
    if any(name.startswith("second_reference") for name in needs.pictures):
        return SecondRows(len(reader), seed, reader.group_codes() if needs.second_row == "group" else None)
    if recipe.samples.palette_references:
        return SecondRows(len(reader), seed, reader.assembled_codes())
    return None


class Fed(NamedTuple):
    """A micro-batch, and its samples whose planned row was replaced."""

    batch: Batch
    replaced: Sequence[Replaced]


def stacked(samples: Sequence[Sample], draws: Mapping[str, torch.Tensor]) -> Batch:
    """Samples and their draws as one batch."""
    names = samples[0].pictures
    pictures = {name: torch.from_numpy(np.stack([sample.pictures[name] for sample in samples])) for name in names}
    return Batch(pictures, draws, [sample.tags for sample in samples])


class Fedable(Protocol):
    """What the feeder asks of a stage (model.stage.Stage)."""

    @property
    def needs(self) -> Needs: ...

    def draws(self, width: int, height: int) -> Sequence[Draw]: ...


class Feeder:
    """The micro-batches of one rank from `images_seen` on, some of them in preparation; `waited_s` counts waiting."""

    def __init__(
        self,
        reader: CorpusReader,
        recipe: StageRecipe,
        stage: Fedable,
        *,
        shares: BatchShares,
        rank: int,
        images_seen: int,
        loader: Loader = "threads",
        ahead: int = 3,
        threads: int = 2,
    ) -> None:
        self.waited_s, self.taken, self.replaced = 0.0, 0, 0
        self._recipe, self._stage, self._seed = recipe, stage, stage_seed(recipe)
        self._index = reader.index
        self._rows, self._sizes = sample_plans(recipe, self._index)
        self._settings = sample_settings(recipe, stage.needs)
        candidates = Candidates(self._rows, self._seed, second_rows(reader, recipe, stage.needs, self._seed))
        self._loader = picture_loader(loader, reader, candidates, threads)
        self._drawing = ThreadPoolExecutor(1, thread_name_prefix="draws")
        self._queue = self._micro_batches(shares, rank, images_seen)
        self._pending = deque(self._start() for _ in range(ahead))

    def next(self) -> Fed:
        """The next micro-batch; one more goes into preparation. DataError where too many rows cannot be used."""
        started = time.perf_counter()
        pictures, draws = self._pending.popleft()
        made = pictures()
        tensors = {name: torch.from_numpy(array) for name, array in made.arrays.items()}
        fed = Fed(Batch(tensors, draws.result(), made.tags), made.replaced)
        self.waited_s += time.perf_counter() - started
        self._pending.append(self._start())
        self._count(fed)
        return fed

    def planned_rows(self, ordinals: Sequence[int]) -> list[str]:
        """The ids of the rows that the samples are planned to be made of."""
        return [self._index.id(self._rows.row_of(ordinal)) for ordinal in ordinals]

    def close(self) -> None:
        """Stop the threads; batches in preparation are dropped."""
        self._loader.close()
        self._drawing.shutdown(wait=True, cancel_futures=True)

    def _micro_batches(self, shares: BatchShares, rank: int, images_seen: int) -> Iterator[list[int]]:
        while True:
            yield from shares.ordinals(images_seen, rank)
            images_seen += self._recipe.length.batch_size

    def _start(self) -> tuple[Callable[[], Pictures], Future[dict[str, torch.Tensor]]]:
        ordinals = next(self._queue)
        width, height = self._sizes.size_of(ordinals[0])
        pictures = self._loader.submit(ordinals, replace(self._settings, width=width, height=height))
        return pictures, self._drawing.submit(draw, self._seed, ordinals, self._stage.draws(width, height))

    def _count(self, fed: Fed) -> None:
        self.taken += fed.batch.size
        self.replaced += len(fed.replaced)
        for found in fed.replaced:
            _log.warning(
                "sample %d: row %s cannot be used (%s); row %s stands in",
                found.ordinal,
                found.row,
                found.reason,
                found.by,
            )
        if self.replaced > max(MOST_REPLACED, MOST_REPLACED_SHARE * self.taken):
            raise DataError(
                f"{self.replaced} rows for {self.taken} samples could not be used, more than "
                f"{MOST_REPLACED_SHARE:.0%}; the last was row {fed.replaced[-1].row}: {fed.replaced[-1].reason}. "
                "Run: irodori corpus verify"
            )
