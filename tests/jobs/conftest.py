"""What tests of several commands share: an untrained checkpoint, corpora, working directories."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import lineage
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_pictures
from tests.pipelines.training.untrained import write_checkpoint, write_corpus


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus with its lineage; nobody changes it."""
    folder = tmp_path_factory.mktemp("corpus")
    out = write_corpus(folder)
    with lineage.run("corpus", "corpus build", out, f"sqlite:///{folder / 'runs.db'}", {}) as traced:
        traced.finish(lineage.Node(out, "corpus", "snapshot 1"), [], [str(folder / "pictures")])
    return out


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an empty folder and a file that is no picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"no picture")
    return tmp_path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpus `one` of eight pictures with two snapshots of other line art, `two` of four other pictures."""
    folder = tmp_path_factory.mktemp("corpora")
    for name, count, first in (("one", 8, 0), ("two", 4, 20)):
        source = write_pictures(folder / "source" / name, count, first=first)
        run_build([str(source)], str(folder / name), SMALL, engine=in_process)
    run_build([str(folder / "source" / "one")], str(folder / "one"), replace(SMALL, seed=1), engine=in_process)
    shutil.rmtree(folder / "one" / "plan", ignore_errors=True)
    return folder


@pytest.fixture
def corpora(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with copies of the two corpora."""
    for name in ("one", "two"):
        shutil.copytree(built / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path
