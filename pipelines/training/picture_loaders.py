"""Makes the pictures of planned samples, in threads beside the trainer or as Ray tasks on CPU nodes: equal either way.

A row that cannot be used (a missing cell, damaged bytes) is replaced by the plan's rule, which is a pure function of
(seed, ordinal, attempt), and recorded; a file that cannot be read is no picture's failure and stops the stage.

The tasks are plain Ray tasks in a bounded window and not a Ray Data dataset: a stage reads an endless list of small
batches in exact order, and a dataset that keeps its order makes each block's batches in one task, one after another.
They run on CPUs that no trainer holds, and read rows by place, so that they hold no index of the corpus.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.corpus.cell_reader import CellReader, RowPlace
from dataprep.corpus.reader import CorpusReader
from dataprep.errors import DataError
from dataprep.randomness import generator
from dataprep.samples.sample import Sample, training_sample
from dataprep.samples.sample_plan import RowPlan, SecondRows
from dataprep.samples.sample_settings import SampleSettings, dtype_of
from pipelines.training.batch_shares import Loader

ATTEMPTS = 8  # rows tried for one sample
TASK_WAIT_S = 900  # for a Ray task: a cluster may have to start a node first


@dataclass(frozen=True)
class Replaced:
    """The planned row of the sample at `ordinal`, why it could not be used, and the first usable one after it."""

    ordinal: int
    row: str
    reason: str
    by: str


@dataclass(frozen=True, eq=False)
class Pictures:
    """Of B samples: each picture's name -> (B, channels, height, width), as `Sample` describes them, and their tags."""

    arrays: Mapping[str, npt.NDArray[Any]]
    tags: list[tuple[str, ...]]
    replaced: list[Replaced] = field(default_factory=list)

    @classmethod
    def empty(cls, count: int, settings: SampleSettings) -> "Pictures":
        """Room for the pictures of so many samples."""
        arrays = {name: np.empty((count, *settings.shape_of(name)), dtype_of(name)) for name in settings.pictures}
        return cls(arrays, [()] * count)

    def put(self, place: int, sample: Sample) -> None:
        """Fill in one sample."""
        for name, array in self.arrays.items():
            array[place] = sample.pictures[name]
        self.tags[place] = sample.tags

    def copied(self) -> "Pictures":
        """The same in memory of its own."""
        return Pictures({name: array.copy() for name, array in self.arrays.items()}, self.tags, self.replaced)


class PictureLoader(Protocol):
    """Makes batches in the background; what goes wrong is raised where a batch is taken."""

    def submit(self, ordinals: Sequence[int], settings: SampleSettings) -> Callable[[], Pictures]:
        """Start on the samples `ordinals`; the answer waits for them and gives their pictures."""

    def close(self) -> None:
        """Stop; batches in preparation are dropped."""


Row = Mapping[str, Any]


def usable_sample(
    rows: Iterable[tuple[Row, Row | None]], settings: SampleSettings, seed: int, ordinal: int
) -> tuple[Sample, list[Replaced]]:
    """The sample of the first row (and second row) that can be used, and what it replaced, if anything.

    DataError where none can be.
    """
    failures: list[tuple[str, str]] = []
    for row, second in rows:
        try:
            sample = training_sample(row, settings, generator(seed, ordinal, "augment"), second=second)
        except DataError as error:
            failures.append((row["id"], str(error)))
            continue
        return sample, [Replaced(ordinal, *failed, by=row["id"]) for failed in failures[:1]]
    raise DataError(
        f"sample {ordinal}: none of the {len(failures)} rows tried can be used; "
        f"the first was row {failures[0][0]}: {failures[0][1]}"
    )


@dataclass(frozen=True, eq=False)
class Candidates:
    """Which rows each sample may be made of: pure functions of (seed, ordinal). `second`: of a second reference."""

    plan: RowPlan
    seed: int
    second: SecondRows | None = None

    def of(self, ordinal: int) -> Iterable[tuple[int, int | None]]:
        """The planned row of a sample, then those that stand in for it; beside each the row of its second reference."""
        for attempt in range(ATTEMPTS):
            row = self.plan.replacement_of(ordinal, attempt) if attempt else self.plan.row_of(ordinal)
            yield row, self.second.row_of(ordinal, row) if self.second else None


class ThreadLoader:
    """Samples made in threads of this process, each sample by itself, so that the first batch has all threads."""

    def __init__(self, reader: CorpusReader, candidates: Candidates, threads: int) -> None:
        self._reader, self._candidates = reader, candidates
        cv2.setNumThreads(1)  # the threads share the cores sample by sample, which is faster than within each
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="samples")

    def submit(self, ordinals: Sequence[int], settings: SampleSettings) -> Callable[[], Pictures]:
        """Start on the samples `ordinals`."""
        pictures = Pictures.empty(len(ordinals), settings)
        samples = [
            self._pool.submit(self._make, ordinal, settings, pictures, place) for place, ordinal in enumerate(ordinals)
        ]
        return lambda: _gathered(pictures, samples)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, ordinal: int, settings: SampleSettings, pictures: Pictures, place: int) -> list[Replaced]:
        rows = ((self._reader.row(row), self._second(second)) for row, second in self._candidates.of(ordinal))
        sample, replaced = usable_sample(rows, settings, self._candidates.seed, ordinal)
        pictures.put(place, sample)
        return replaced

    def _second(self, row: int | None) -> Row | None:
        return None if row is None else self._reader.row(row)


class RayLoader:
    """Batches made by Ray tasks, one CPU each; at most those that were submitted and not yet taken are under way."""

    def __init__(self, reader: CorpusReader, candidates: Candidates) -> None:
        import ray

        self._reader, self._candidates = reader, candidates
        # DEFAULT, and not the trainer's placement group, whose CPUs are taken; Ray prefers nodes without a GPU.
        self._task = ray.remote(num_cpus=1, max_retries=3, scheduling_strategy="DEFAULT")(make_pictures)
        self._pending: dict[int, Any] = {}

    def submit(self, ordinals: Sequence[int], settings: SampleSettings) -> Callable[[], Pictures]:
        """Start on the samples `ordinals`."""
        places = [[self._places(*pair) for pair in self._candidates.of(ordinal)] for ordinal in ordinals]
        key, task = ordinals[0], self._task.remote(places, list(ordinals), settings, self._candidates.seed)
        self._pending[key] = task
        return lambda: self._taken(key)

    def close(self) -> None:
        """Forget the tasks that nobody waits for: a few batches, which end by themselves.

        They are not cancelled: Ray 2.60 aborts this whole process where a task ends at the moment it is cancelled.
        """
        self._pending.clear()

    def _places(self, row: int, second: int | None) -> tuple[RowPlace, RowPlace | None]:
        return self._reader.place(row), None if second is None else self._reader.place(second)

    def _taken(self, key: int) -> Pictures:
        import ray

        try:
            pictures: Pictures = ray.get(self._pending[key], timeout=TASK_WAIT_S)
        except ray.exceptions.GetTimeoutError as error:
            raise DataError(
                f"no batch came from the loading tasks within {TASK_WAIT_S} s. Has the cluster a free CPU? "
                "Otherwise load in threads: --loader threads"
            ) from error
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from error
        del self._pending[key]
        # What lies in Ray's store may not be written to, and leaves it as soon as nobody refers to it.
        return pictures.copied()


def make_pictures(
    places: Sequence[Sequence[tuple[RowPlace, RowPlace | None]]],
    ordinals: Sequence[int],
    settings: SampleSettings,
    seed: int,
) -> Pictures:
    """The pictures of the samples `ordinals`, whose rows, and those to stand in for them, lie at `places`."""
    pictures, cells = Pictures.empty(len(ordinals), settings), _cells()
    for number, (ordinal, rows) in enumerate(zip(ordinals, places, strict=True)):
        read = ((cells.read(row), cells.read(second) if second else None) for row, second in rows)
        sample, replaced = usable_sample(read, settings, seed, ordinal)
        pictures.put(number, sample)
        pictures.replaced.extend(replaced)
    return pictures


def picture_loader(loader: Loader, reader: CorpusReader, candidates: Candidates, threads: int) -> PictureLoader:
    """The loader of that name."""
    return RayLoader(reader, candidates) if loader == "ray" else ThreadLoader(reader, candidates, threads)


@lru_cache(maxsize=1)
def _cells() -> CellReader:
    """This task process's reader; its task has one CPU."""
    cv2.setNumThreads(1)
    return CellReader()


def _gathered(pictures: Pictures, samples: Sequence[Future[list[Replaced]]]) -> Pictures:
    for sample in samples:
        pictures.replaced.extend(sample.result())
    return pictures
