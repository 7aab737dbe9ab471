"""The training reader beside a torch DataLoader: `python -m benchmarks.corpus.reader --pictures FOLDER --count 400`

Both read the same corpus in the same order with the same functions (CorpusReader.row, training_sample) on as many
cores: ours in threads of the trainer's process, the DataLoader in worker processes. Ours draws the noise of training
besides, which the DataLoader leaves to the trainer. Both keep so few row groups that hardly a row is found in memory,
as with a corpus of millions; the files themselves lie in the page cache.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.measuring import Section, markdown, source_of
from dataprep.corpus.reader import CorpusReader
from dataprep.randomness import generator
from dataprep.samples.sample import training_sample
from dataprep.samples.sample_plan import SamplePlan
from model.batch import Draw, Needs
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.recipes.stages import stage_recipe
from pipelines.training.batch_shares import BatchShares
from pipelines.training.feeder import Feeder, sample_settings, stage_seed

BAR = 1.0
FIRST_BATCH_S = 5.0
CACHE_BYTES = 1 << 20
BATCH = 32
RECIPE = stage_recipe("v1.noisy", "base").changed(batch_size=BATCH, micro_batch=BATCH, styles=("xdog",))
NEEDS = Needs(reference_size=224)
SETTINGS = sample_settings(RECIPE, NEEDS)

ABOUT = f"""\
Augmented samples a second by the clock, batches of {BATCH} at {SETTINGS.width} x {SETTINGS.height}, runs taken in turns
(median of the runs), and the time from opening the corpus to the first batch. At least {BAR} of the DataLoader's rate
and a first batch within {FIRST_BATCH_S:.0f} s are wanted."""


def run(source: str, count: int, batches: int, runs: int, out: Path, workers: int = 2) -> Section:
    """`runs` readings of `batches` batches by each, from a corpus of the first `count` pictures, built below `out`."""
    corpus = str(out / "corpus")
    run_build([source], corpus, replace(CORPUS_RECIPES["plain"], validation_share=0.0), limit=count, engine=in_process)
    rivals = {"irodori Feeder, threads": _ours, "torch DataLoader, processes": _data_loader}
    rates: dict[str, list[float]] = {name: [] for name in rivals}
    firsts: dict[str, list[float]] = {name: [] for name in rivals}
    names = list(rivals)
    for number in range(runs):
        for name in names if number % 2 else names[::-1]:
            rate, first = _timed(rivals[name](corpus, workers), batches)
            rates[name].append(rate)
            firsts[name].append(first)
    return _section(rates, firsts, workers)


def _section(rates: dict[str, list[float]], firsts: dict[str, list[float]], workers: int) -> Section:
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ours, peer = medians
    ratio, first = medians[ours] / medians[peer], statistics.median(firsts[ours])
    rows = [
        {
            "reader": name,
            "workers": workers,
            "samples/s": medians[name],
            "runs": ", ".join(f"{rate:.1f}" for rate in rates[name]),
            "first batch, s": round(statistics.median(firsts[name]), 2),
            "ratio": round(ratio, 3) if name == ours else None,
        }
        for name in rates
    ]
    return Section("Training reader", ABOUT, rows, ratio >= BAR and first <= FIRST_BATCH_S)


Taken = Generator[Sequence[torch.Tensor], None, None]


def _timed(batches: Taken, count: int) -> tuple[float, float]:
    """(samples a second, seconds to the first batch), each sample read by whoever takes the batch."""
    started = time.perf_counter()
    for tensor in next(batches):
        tensor.mean()
    first = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(count):
        for tensor in next(batches):
            tensor.mean()
    took = time.perf_counter() - started
    batches.close()
    return count * BATCH / took, first


class _Noised:
    """A stage that asks for the pictures of v1 and for the noise of latents of 4 channels, an eighth of the size."""

    needs = NEEDS

    def draws(self, width: int, height: int) -> Sequence[Draw]:
        latents = (4, height // 8, width // 8)
        return Draw("noise", "normal", latents), Draw("posterior_noise", "normal", latents)


def _ours(corpus: str, workers: int) -> Taken:
    reader = CorpusReader(corpus, "train", SETTINGS.columns(), cache_bytes=CACHE_BYTES, facts=False)
    shares = BatchShares.of(RECIPE.length, workers=1)
    feeding = Feeder(reader, RECIPE, _Noised(), shares=shares, rank=0, images_seen=0, threads=workers)
    with closing(feeding) as feeder:
        while True:
            pictures = feeder.next().batch.pictures
            yield pictures["sketch"], pictures["color"], pictures["reference"]


def _data_loader(corpus: str, workers: int) -> Taken:
    # Workers are forked, as is the DataLoader's custom on Linux; each opens the corpus for itself.
    loader = DataLoader(_Samples(corpus), BATCH, num_workers=workers, worker_init_fn=_one_thread)
    yield from loader


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)


class _Samples(Dataset[Any]):
    """The planned samples by ordinal."""

    def __init__(self, corpus: str) -> None:
        self._corpus = corpus

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, ordinal: int) -> tuple[Any, Any, Any]:
        reader, plan = self._opened
        row = reader.row(plan.row_of(ordinal))
        sample = training_sample(row, SETTINGS, generator(stage_seed(RECIPE), ordinal, "augment"))
        return sample.sketch, sample.color, sample.reference

    @cached_property
    def _opened(self) -> tuple[CorpusReader, SamplePlan]:
        reader = CorpusReader(self._corpus, "train", SETTINGS.columns(), cache_bytes=CACHE_BYTES, facts=False)
        return reader, SamplePlan(len(reader), stage_seed(RECIPE))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", help="a folder of pictures; else ../shared/data/storybook, else the shipped ones")
    parser.add_argument("--count", type=int, default=400, help="pictures of the corpus")
    parser.add_argument("--batches", type=int, default=30, help="batches of a run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    source, _ = source_of(arguments.pictures)
    with tempfile.TemporaryDirectory() as work:
        print(markdown(run(source, arguments.count, arguments.batches, arguments.runs, Path(work), arguments.workers)))


if __name__ == "__main__":
    main()
