"""What tests of several commands share: an untrained checkpoint, a corpus of sixteen rows, a working directory."""

from pathlib import Path

import pytest

from pipelines import lineage
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
