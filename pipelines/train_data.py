"""Feeds a training worker: planned samples, loaded and augmented in threads beside the trainer.

Which row a sample is and how it is augmented follow from (seed, ordinal) alone, so any rank computes its own part and a
restart goes on at the exact sample (DESIGN sections 3 and 5).
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch

from dataprep.randomness import generator
from dataprep.reader import CorpusReader
from dataprep.sample_plan import SamplePlan
from dataprep.sample import Sample, SampleSettings, training_sample
from pipelines.draws import Draws, draw
from pipelines.recipes import StageRecipe
from pipelines.shares import Shares as Shares


@dataclass(frozen=True)
class Batch:
    """Samples of one micro-batch: sketch and color (B, 3, H, W), reference (B, 3, h, w), all in [-1, 1]."""

    sketch: torch.Tensor
    color: torch.Tensor
    reference: torch.Tensor
    draws: Draws


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
        *,
        reference_size: int,
        latent_shape: tuple[int, int, int],
        token_shape: tuple[int, int],
        ahead: int = 3,
        threads: int = 2,
    ) -> None:
        self.waited_s = 0.0
        self._reader, self._recipe = reader, recipe
        self._seed = stage_seed(recipe)
        self._plan = SamplePlan(len(reader), self._seed)
        self._settings = sample_settings(recipe, reference_size)
        self._latent_shape, self._token_shape = latent_shape, token_shape
        self._pending: deque[Future[Batch]] = deque()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="samples")
        self._queue = self._micro_batches(shares, rank, images_seen)
        for ordinals in (next(self._queue) for _ in range(ahead)):
            self._pending.append(self._pool.submit(self._make, ordinals))

    def next(self) -> Batch:
        """The next micro-batch; one more goes into preparation."""
        started = time.perf_counter()
        batch = self._pending.popleft().result()
        self.waited_s += time.perf_counter() - started
        self._pending.append(self._pool.submit(self._make, next(self._queue)))
        return batch

    def close(self) -> None:
        """Stop the threads; batches in preparation are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _micro_batches(self, shares: Shares, rank: int, images_seen: int) -> Iterator[list[int]]:
        while True:
            yield from shares.ordinals(images_seen, rank)
            images_seen += self._recipe.batch_size

    def _make(self, ordinals: list[int]) -> Batch:
        samples = [self._sample(ordinal) for ordinal in ordinals]
        draws = draw(
            self._seed,
            ordinals,
            self._latent_shape,
            self._token_shape,
            self._recipe.reference_drop,
            self._recipe.sketch_drop,
        )
        return Batch(*stack(samples), draws)

    def _sample(self, ordinal: int) -> Sample:
        row = self._reader.row(self._plan.row_of(ordinal))
        return training_sample(row, self._settings, generator(self._seed, ordinal, "augment"))
