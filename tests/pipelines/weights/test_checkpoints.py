"""A checkpoint is found by its own address or by that of the run that holds it, on disk and on S3."""

from pathlib import Path

import pytest

from dataprep.storage.store import join, write_whole
from pipelines.common.errors import PipelineError
from pipelines.weights.checkpoints import checkpoint_uri, fetch_checkpoint


def write(uri: str) -> None:
    write_whole(join(uri, "config.json"), b"{}")
    write_whole(join(uri, "model.safetensors"), b"weights")


def test_a_checkpoint_is_found_itself_and_below_its_run(tmp_path: Path) -> None:
    write(str(tmp_path / "run" / "checkpoint"))
    expected = str(tmp_path / "run" / "checkpoint")
    assert checkpoint_uri(expected) == checkpoint_uri(str(tmp_path / "run")) == expected
    assert fetch_checkpoint(str(tmp_path / "run")) == Path(expected)


def test_an_address_without_one_is_refused_and_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"config.json there or in .*checkpoint"):
        checkpoint_uri(str(tmp_path))


@pytest.mark.s3
def test_a_remote_checkpoint_is_copied_whole(s3_prefix: str) -> None:
    write(join(s3_prefix, "checkpoint"))
    local = fetch_checkpoint(s3_prefix)
    assert {path.name: path.read_bytes() for path in local.iterdir()} == {
        "config.json": b"{}",
        "model.safetensors": b"weights",
    }
