"""One corpus and one checkpoint for all tests of evaluation; nothing writes into either."""

import pytest

from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_pictures
from tests.pipelines.training.untrained import write_checkpoint, write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Sixteen assembled drawings, half of them held out."""
    return write_corpus(tmp_path_factory.mktemp("evaluation-corpus"))


@pytest.fixture(scope="session")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eight assembled drawings in two colourings each, half of them held out."""
    return write_corpus(tmp_path_factory.mktemp("evaluation-grouped"), drawings=8, colorings=2)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model with random weights that makes pictures of 64x64."""
    return write_checkpoint(tmp_path_factory.mktemp("evaluation-run") / "checkpoint")


@pytest.fixture(scope="session")
def unassembled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus of pictures that nobody assembled and that have no drawn sketch."""
    folder = tmp_path_factory.mktemp("evaluation-unassembled")
    run_build([str(write_pictures(folder / "pictures", 8))], str(folder / "corpus"), SMALL, engine=in_process)
    return str(folder / "corpus")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow store; making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('evaluation-store') / 'runs.db'}"
