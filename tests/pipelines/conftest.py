"""What the training drills share: one tiny corpus, and one undisturbed run that the disturbed ones are held against."""

import subprocess
from collections.abc import Iterator
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real filesystem of 200 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", folder], check=True)
