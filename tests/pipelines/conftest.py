"""What the training drills share: one tiny corpus, and one undisturbed run that the disturbed ones are held against."""

from pathlib import Path

import pytest

from tests.pipelines.training.train_helpers import Bench, make_bench, write_listening


@pytest.fixture(scope="session")
def bench(ray_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A corpus of 12 drawings to train on and 4 held out."""
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def undisturbed(bench: Bench) -> Path:
    """The output of `v1.noisy` on two workers, 64 images, from start to end; beside it what listened meanwhile."""
    out = bench.folder / "undisturbed"
    bench.train(out, progress=lambda news: write_listening(bench.folder) if news.done else None)
    return out
