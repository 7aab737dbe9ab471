"""Makes the pictures of planned samples, in threads beside the trainer or as Ray tasks on CPU nodes: equal either way.

A row that cannot be used (a missing cell, damaged bytes) is replaced by the plan's rule, which is a pure function of
(seed, ordinal, attempt), and said; a file that cannot be read is no picture's failure and stops the stage.

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
from dataprep.samples.sample import Sample, SampleSettings, training_sample
from dataprep.samples.sample_plan import RowPlan
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
    """Of B samples: sketch and color (B, 3, H, W), reference (B, 3, h, w), float32 in [-1, 1]."""

    sketch: npt.NDArray[np.float32]
    color: npt.NDArray[np.float32]
    reference: npt.NDArray[np.float32]
    replaced: list[Replaced] = field(default_factory=list)

    @classmethod
    def empty(cls, count: int, settings: SampleSettings) -> "Pictures":
        """Room for the pictures of so many samples."""
        window = (count, 3, settings.height, settings.width)
        square = (count, 3, settings.reference_size, settings.reference_size)
        return cls(np.empty(window, np.float32), np.empty(window, np.float32), np.empty(square, np.float32))

    def put(self, place: int, sample: Sample) -> None:
        """Fill in one sample."""
        self.sketch[place], self.color[place], self.reference[place] = sample.sketch, sample.color, sample.reference


class PictureLoader(Protocol):
    """Makes batches in the background; what goes wrong is raised where a batch is taken."""

    def submit(self, ordinals: Sequence[int], settings: SampleSettings) -> Callable[[], Pictures]:
        """Start on the samples `ordinals`; the answer waits for them and gives their pictures."""

    def close(self) -> None:
        """Stop; batches in preparation are dropped."""


def usable_sample(
    rows: Iterable[Mapping[str, Any]], settings: SampleSettings, seed: int, ordinal: int
) -> tuple[Sample, list[Replaced]]:
    """The sample of the first row that can be used, and what it replaced, if anything. DataError where none can be."""
    failures: list[tuple[str, str]] = []
    for row in rows:
        try:
            sample = training_sample(row, settings, generator(seed, ordinal, "augment"))
        except DataError as error:
            failures.append((row["id"], str(error)))
            continue
        return sample, [Replaced(ordinal, *failed, by=row["id"]) for failed in failures[:1]]
    raise DataError(
        f"sample {ordinal}: none of the {len(failures)} rows tried can be used; "
        f"the first was row {failures[0][0]}: {failures[0][1]}"
    )


def candidates(plan: RowPlan, ordinal: int) -> Iterable[int]:
    """The planned row of a sample, then those that stand in for it."""
    yield plan.row_of(ordinal)
    for attempt in range(1, ATTEMPTS):
        yield plan.replacement_of(ordinal, attempt)


class ThreadLoader:
    """Samples made in threads of this process, each sample by itself, so that the first batch has all threads."""

    def __init__(self, reader: CorpusReader, plan: RowPlan, seed: int, threads: int) -> None:
        self._reader, self._plan, self._seed = reader, plan, seed
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
        rows = (self._reader.row(row) for row in candidates(self._plan, ordinal))
        sample, replaced = usable_sample(rows, settings, self._seed, ordinal)
        pictures.put(place, sample)
        return replaced


class RayLoader:
    """Batches made by Ray tasks, one CPU each; at most those that were submitted and not yet taken are under way."""

    def __init__(self, reader: CorpusReader, plan: RowPlan, seed: int) -> None:
        import ray

        self._reader, self._plan, self._seed = reader, plan, seed
        # DEFAULT, and not the trainer's placement group, whose CPUs are taken; Ray prefers nodes without a GPU.
        self._task = ray.remote(num_cpus=1, max_retries=3, scheduling_strategy="DEFAULT")(make_pictures)
        self._pending: dict[int, Any] = {}

    def submit(self, ordinals: Sequence[int], settings: SampleSettings) -> Callable[[], Pictures]:
        """Start on the samples `ordinals`."""
        places = [[self._reader.place(row) for row in candidates(self._plan, ordinal)] for ordinal in ordinals]
        key, task = ordinals[0], self._task.remote(places, list(ordinals), settings, self._seed)
        self._pending[key] = task
        return lambda: self._taken(key)

    def close(self) -> None:
        """Forget the tasks that nobody waits for: a few batches, which end by themselves.

        They are not cancelled: Ray 2.60 aborts this whole process where a task ends at the moment it is cancelled.
        """
        self._pending.clear()

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
        return Pictures(pictures.sketch.copy(), pictures.color.copy(), pictures.reference.copy(), pictures.replaced)


def make_pictures(
    places: Sequence[Sequence[RowPlace]], ordinals: Sequence[int], settings: SampleSettings, seed: int
) -> Pictures:
    """The pictures of the samples `ordinals`, whose rows, and those to stand in for them, lie at `places`."""
    pictures, cells = Pictures.empty(len(ordinals), settings), _cells()
    for number, (ordinal, rows) in enumerate(zip(ordinals, places, strict=True)):
        sample, replaced = usable_sample(map(cells.read, rows), settings, seed, ordinal)
        pictures.put(number, sample)
        pictures.replaced.extend(replaced)
    return pictures


def picture_loader(loader: Loader, reader: CorpusReader, plan: RowPlan, seed: int, threads: int) -> PictureLoader:
    """The loader of that name."""
    return RayLoader(reader, plan, seed) if loader == "ray" else ThreadLoader(reader, plan, seed, threads)


@lru_cache(maxsize=1)
def _cells() -> CellReader:
    """This task process's reader; its task has one CPU."""
    cv2.setNumThreads(1)
    return CellReader()


def _gathered(pictures: Pictures, samples: Sequence[Future[list[Replaced]]]) -> Pictures:
    for sample in samples:
        pictures.replaced.extend(sample.result())
    return pictures
