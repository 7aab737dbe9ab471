"""A SQLite store of MLflow, made once: making its tables takes seconds."""

import pytest

from pipelines import lineage


@pytest.fixture(scope="package")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a store with its tables, the experiment, and one run."""
    file = tmp_path_factory.mktemp("made") / "runs.db"
    with lineage.run("corpus", "making", str(file.parent / "out"), f"sqlite:///{file}", {}):
        pass
    return file.read_bytes()
