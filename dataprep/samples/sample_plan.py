"""Which row every training sample is, and at what size: pure functions of (seed, ordinal).

An ordinal counts samples over all ranks, steps and restarts; a step is `batch` consecutive ordinals and has one size.
Nothing here knows a rank or a world size, so any rank computes its own part and a restart goes on at the exact sample
(DESIGN section 3). Held: one permutation of the rows, 4 bytes each (24 MB for six million).

SamplePlan draws rows from all, BucketPlan from one bucket a step; SecondRows draws the row of a second reference.
FixedSize, RandomSize and BucketPlan give sizes.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from dataprep.randomness import generator
from dataprep.samples.buckets import bucket_size, bucket_weight

Rows = npt.NDArray[np.int32]


class RowPlan(Protocol):
    """Which row a sample is."""

    def row_of(self, ordinal: int) -> int:
        """The row of global sample `ordinal` (0, 1, ...)."""

    def replacement_of(self, ordinal: int, attempt: int) -> int:
        """The row that stands in where the planned one and `attempt - 1` others (1, 2, ...) could not be used."""


class SizePlan(Protocol):
    """At what size a sample is made."""

    def size_of(self, ordinal: int) -> tuple[int, int]:
        """(width, height) in pixels: the same for all samples of a step."""


@dataclass(frozen=True)
class SamplePlan:
    """Of `rows` rows: every epoch is its own permutation of all of them."""

    rows: int
    seed: int

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError("a sample plan needs at least one row")

    def row_of(self, ordinal: int) -> int:
        """The row of global sample `ordinal` (0, 1, ...)."""
        epoch, position = divmod(ordinal, self.rows)
        return int(_epoch(self.rows, self.seed, epoch)[position])

    def replacement_of(self, ordinal: int, attempt: int) -> int:
        """Any row, each as likely as another."""
        return _replacement(self.seed, ordinal, attempt, self.rows)


class SecondRows:
    """Which row the second reference of each sample shows: any other of `rows`, or with `groups` (N,), the numbers of
    the rows' groups, another of the row's own group.

    A row that has no other beside it stands for itself.
    """

    def __init__(self, rows: int, seed: int, groups: npt.NDArray[np.int32] | None = None) -> None:
        self._seed = seed
        codes = np.zeros(rows, np.int32) if groups is None else np.unique(groups, return_inverse=True)[1]
        # The rows of group g are _members[_starts[g]:_starts[g + 1]], rising.
        self._codes, self._members = codes, np.argsort(codes, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(codes[self._members], np.arange(codes.max(initial=0) + 2))

    def row_of(self, ordinal: int, row: int) -> int:
        """The second row of global sample `ordinal`, whose first is `row`."""
        first, end = self._starts[self._codes[row]], self._starts[self._codes[row] + 1]
        if end - first == 1:
            return row
        drawn = int(generator(self._seed, ordinal, "second row").integers(end - first - 1))
        other = int(self._members[first + drawn])
        return other if other < row else int(self._members[first + drawn + 1])


@dataclass(frozen=True)
class FixedSize:
    """Every sample has the same size, in pixels."""

    width: int
    height: int

    def size_of(self, ordinal: int) -> tuple[int, int]:
        """(width, height), whatever the ordinal."""
        return self.width, self.height


@dataclass(frozen=True)
class RandomSize:
    """Each step draws its width and its height alone from the multiples of `multiple` in [smallest, largest].

    So sizes and aspect ratios are random across batches (Separating Reference Representations, "configurations").
    """

    smallest: int
    largest: int
    multiple: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        if self.smallest % self.multiple or not self.multiple <= self.smallest <= self.largest:
            raise ValueError(
                f"random sizes need multiples of {self.multiple}, the smallest first, "
                f"not {self.smallest} to {self.largest}"
            )

    def size_of(self, ordinal: int) -> tuple[int, int]:
        """(width, height) of the step that the sample belongs to."""
        rng = generator(self.seed, ordinal // self.batch, "size")
        steps = rng.integers((self.largest - self.smallest) // self.multiple + 1, size=2)
        width, height = self.smallest + self.multiple * steps
        return int(width), int(height)


class BucketPlan:
    """Every step takes its rows from one bucket, at that bucket's size.

    A bucket deals out its rows in passes, each a permutation of its own, and a step may reach into the next pass: rows
    that do not fill a batch are filled up with the first of the next pass, which goes on from there.

    Weights "fill": after e epochs a bucket of n rows has had ceil(e n / batch) steps. So every row has been seen at
    least e times, and fewer than `batch` samples of each bucket run ahead. An epoch's steps are shuffled.
    Weights "table": as in the released code, squares are drawn four times as often as others, however full they are;
    each run of sum(weights) steps is one such draw, shuffled. Rows of small buckets then come more often than others.
    """

    def __init__(
        self, rows: Mapping[str, Rows], batch: int, seed: int, weights: Literal["fill", "table"] = "fill"
    ) -> None:
        filled = {bucket: held for bucket, held in rows.items() if len(held)}
        if not filled or batch < 1:
            raise ValueError("a sample plan needs at least one row, and steps of at least one")
        self.buckets = tuple(sorted(filled))
        self._rows = [filled[bucket] for bucket in self.buckets]
        self._batch, self._seed = batch, seed
        self._weights = [bucket_weight(bucket) for bucket in self.buckets] if weights == "table" else None
        self._passes = [
            lru_cache(maxsize=2)(partial(_permutation, len(held), seed, f"bucket {bucket}"))
            for bucket, held in zip(self.buckets, self._rows, strict=True)
        ]
        self._epochs = lru_cache(maxsize=2)(self._draw_turns)
        self._turn = lru_cache(maxsize=16)(self._find_turn)

    def row_of(self, ordinal: int) -> int:
        """The row of global sample `ordinal` (0, 1, ...)."""
        step, place = divmod(ordinal, self._batch)
        bucket, turn = self._turn(step)
        rows = self._rows[bucket]
        number, position = divmod(turn * self._batch + place, len(rows))
        return int(rows[self._passes[bucket](number)[position]])

    def replacement_of(self, ordinal: int, attempt: int) -> int:
        """A row of the same bucket, each as likely as another."""
        rows = self._rows[self._turn(ordinal // self._batch)[0]]
        return int(rows[_replacement(self._seed, ordinal, attempt, len(rows))])

    def size_of(self, ordinal: int) -> tuple[int, int]:
        """(width, height) of the bucket of the step that the sample belongs to."""
        return bucket_size(self.buckets[self._turn(ordinal // self._batch)[0]])

    def _find_turn(self, step: int) -> tuple[int, int]:
        """(bucket, how many steps it had before) of a step."""
        epoch = self._epoch_of(step)
        buckets, turns = self._epochs(epoch)
        place = step - sum(self._steps_before(epoch))
        return int(buckets[place]), int(turns[place])

    def _steps_before(self, epoch: int) -> list[int]:
        """The steps that each bucket has had when an epoch begins."""
        if self._weights is not None:
            return [epoch * weight for weight in self._weights]
        return [-(-epoch * len(rows) // self._batch) for rows in self._rows]

    def _epoch_of(self, step: int) -> int:
        if self._weights is not None:
            return step // sum(self._weights)
        # Epochs are a little longer than rows / batch by what is rounded up, at most a step for each bucket.
        rows = sum(len(held) for held in self._rows)
        latest = step * self._batch // rows
        earliest = max(0, (step - len(self._rows)) * self._batch // rows - 1)
        starts = [sum(self._steps_before(epoch)) for epoch in range(earliest, latest + 1)]
        return earliest + bisect_right(starts, step) - 1

    def _draw_turns(self, epoch: int) -> tuple[Rows, Rows]:
        """The bucket of each step of an epoch, and how many steps that bucket had before."""
        before, after = self._steps_before(epoch), self._steps_before(epoch + 1)
        counts = np.subtract(after, before)
        order = _permutation(int(counts.sum()), self._seed, "buckets of steps", epoch)
        buckets = np.repeat(np.arange(len(counts), dtype=np.int32), counts)[order]
        turns = np.empty(len(buckets), np.int32)
        for bucket, (first, count) in enumerate(zip(before, counts, strict=True)):
            turns[buckets == bucket] = first + np.arange(count)
        return buckets, turns


def stage_rows(rows: Iterable[int], epochs: float, batch: int) -> int:
    """The samples after which every row was shown `epochs` times: whole steps for the `rows` of each bucket."""
    return sum(-(-round(epochs * count) // batch) * batch for count in rows)


@lru_cache(maxsize=2)
def _epoch(rows: int, seed: int, epoch: int) -> Rows:
    return _permutation(rows, seed, "epoch", epoch)


def _permutation(length: int, seed: int, purpose: str, number: int) -> Rows:
    return generator(seed, number, purpose).permutation(length).astype(np.int32)


def _replacement(seed: int, ordinal: int, attempt: int, rows: int) -> int:
    return int(generator(seed, ordinal, f"replacement {attempt}").integers(rows))
