"""Feeds a training worker: planned samples, loaded and augmented beside the trainer.

Which row a sample is, at what size and how it is augmented follow from (seed, ordinal) alone, so any rank computes its
own part, every rank's step has the same shape, and a restart goes on at the exact sample (DESIGN sections 3 and 5).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import torch

from dataprep.corpus.reader import CorpusReader
from dataprep.corpus.row_index import RowIndex
from dataprep.errors import DataError
from dataprep.samples.buckets import BucketSettings, assign_buckets, bucket_size
from dataprep.samples.sample import Sample, SampleSettings
from dataprep.samples.sample_plan import BucketPlan, FixedSize, RandomSize, RowPlan, Rows, SamplePlan, SizePlan
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.batch_shares import Loader, Shares
from pipelines.training.draws import Draws, draw
from pipelines.training.picture_loaders import Pictures, Replaced, picture_loader

# More replaced samples than this, and more than this share of what a worker has taken, stop a stage.
MOST_REPLACED = 16
MOST_REPLACED_SHARE = 0.05
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Samples of one micro-batch: sketch and color (B, 3, H, W), reference (B, 3, h, w), all in [-1, 1]."""

    sketch: torch.Tensor
    color: torch.Tensor
    reference: torch.Tensor
    draws: Draws
    replaced: Sequence[Replaced] = ()


@dataclass(frozen=True)
class Shapes:
    """What a stage's networks take, beside pictures of any size: side of the reference in pixels, latent channels,
    pixels per latent along each side, and (N, D) of the reference tokens."""

    reference_size: int
    latent_channels: int
    downsampling: int
    token_shape: tuple[int, int]

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(C, h, w) of pictures of that size in pixels."""
        return self.latent_channels, height // self.downsampling, width // self.downsampling


def stage_seed(recipe: StageRecipe) -> int:
    """The run's seed, told apart by stage, so that two stages do not see the same samples in the same order."""
    return (recipe.seed * 1_000_003 + crc32(recipe.stage.encode())) % 2**31


def sample_settings(recipe: StageRecipe, reference_size: int) -> SampleSettings:
    """The recipe's part that decides how a sample is made."""
    return SampleSettings(
        width=recipe.width,
        height=recipe.height,
        rescale_max=recipe.rescale_max,
        sketch_crop_max=recipe.sketch_crop_max,
        styles=recipe.styles,
        reference_size=reference_size,
    )


def sample_plans(recipe: StageRecipe, index: RowIndex) -> tuple[RowPlan, SizePlan]:
    """Which row each sample of a stage is, and at what size it is made."""
    seed, every = stage_seed(recipe), SamplePlan(len(index), stage_seed(recipe))
    if recipe.sizes == "fixed":
        return every, FixedSize(recipe.width, recipe.height)
    if recipe.sizes == "random":
        return every, RandomSize(*recipe.size_range, recipe.size_multiple, recipe.batch_size, seed)
    plan = BucketPlan(rows_by_bucket(recipe, index), recipe.batch_size, seed, recipe.bucket_weights)
    return plan, plan


def rows_by_bucket(recipe: StageRecipe, index: RowIndex) -> Mapping[str, Rows]:
    """The rows of each bucket of the stage: the corpus's own, or those of the recipe, by nearest aspect ratio."""
    names = np.array(index.buckets)
    if recipe.bucket_sizes:
        sides = np.array([bucket_size(bucket) for bucket in index.buckets])
        names = assign_buckets(sides[:, 0], sides[:, 1], BucketSettings(recipe.bucket_sizes))
    return {
        str(name): np.flatnonzero((names == name)[index.bucket_codes]).astype(np.int32) for name in np.unique(names)
    }


def columns(recipe: StageRecipe) -> list[str]:
    """The corpus columns that training opens."""
    return ["color", *(f"sketch_{style}" for style in recipe.styles)]


def stack(samples: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sketches, colors and references of samples as three tensors."""
    parts = zip(*((sample.sketch, sample.color, sample.reference) for sample in samples), strict=True)
    sketch, color, reference = (torch.from_numpy(np.stack(part)) for part in parts)
    return sketch, color, reference


class Feeder:
    """The micro-batches of one rank from `images_seen` on, some of them in preparation; `waited_s` counts waiting."""

    def __init__(
        self,
        reader: CorpusReader,
        recipe: StageRecipe,
        shares: Shares,
        rank: int,
        images_seen: int,
        shapes: Shapes,
        *,
        loader: Loader = "threads",
        ahead: int = 3,
        threads: int = 2,
    ) -> None:
        self.waited_s, self.taken, self.replaced = 0.0, 0, 0
        self._recipe, self._shapes, self._seed = recipe, shapes, stage_seed(recipe)
        rows, self._sizes = sample_plans(recipe, reader.index)
        self._settings = sample_settings(recipe, shapes.reference_size)
        self._loader = picture_loader(loader, reader, rows, self._seed, threads)
        self._drawing = ThreadPoolExecutor(1, thread_name_prefix="draws")
        self._queue = self._micro_batches(shares, rank, images_seen)
        self._pending = deque(self._start() for _ in range(ahead))

    def next(self) -> Batch:
        """The next micro-batch; one more goes into preparation. DataError where too many rows cannot be used."""
        started = time.perf_counter()
        pictures, draws = self._pending.popleft()
        made = pictures()
        sketch, color, reference = (torch.from_numpy(part) for part in (made.sketch, made.color, made.reference))
        batch = Batch(sketch, color, reference, draws.result(), made.replaced)
        self.waited_s += time.perf_counter() - started
        self._pending.append(self._start())
        self._count(batch)
        return batch

    def close(self) -> None:
        """Stop the threads; batches in preparation are dropped."""
        self._loader.close()
        self._drawing.shutdown(wait=True, cancel_futures=True)

    def _micro_batches(self, shares: Shares, rank: int, images_seen: int) -> Iterator[list[int]]:
        while True:
            yield from shares.ordinals(images_seen, rank)
            images_seen += self._recipe.batch_size

    def _start(self) -> tuple[Callable[[], Pictures], Future[Draws]]:
        ordinals = next(self._queue)
        width, height = self._sizes.size_of(ordinals[0])
        pictures = self._loader.submit(ordinals, replace(self._settings, width=width, height=height))
        return pictures, self._drawing.submit(self._draw, ordinals, self._shapes.latent_shape(width, height))

    def _draw(self, ordinals: Sequence[int], latent_shape: tuple[int, int, int]) -> Draws:
        drops = self._recipe.reference_drop, self._recipe.sketch_drop
        return draw(self._seed, ordinals, latent_shape, self._shapes.token_shape, *drops)

    def _count(self, batch: Batch) -> None:
        self.taken += len(batch.color)
        self.replaced += len(batch.replaced)
        for found in batch.replaced:
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
                f"{MOST_REPLACED_SHARE:.0%}; the last was row {batch.replaced[-1].row}: {batch.replaced[-1].reason}. "
                "Run: irodori corpus verify"
            )
