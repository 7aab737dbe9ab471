"""A checkpoint is found by its own address or by that of the run that holds it, on disk and on S3."""

import json
from pathlib import Path

import pytest

from dataprep.storage.store import download_directory, join, write_whole
from model.errors import ModelError
from pipelines.common.errors import PipelineError
from pipelines.weights import checkpoints
from pipelines.weights.checkpoints import checkpoint_uri, fetch_checkpoint, metadata_at
from tests.pipelines.training.untrained import write_checkpoint


def write(uri: str, config: bytes = b"{}", weights: bytes = b"weights") -> None:
    write_whole(join(uri, "config.json"), config)
    write_whole(join(uri, "model.safetensors"), weights)


def test_a_checkpoint_is_found_itself_and_below_its_run(tmp_path: Path) -> None:
    write(str(tmp_path / "run" / "checkpoint"))
    expected = str(tmp_path / "run" / "checkpoint")
    assert checkpoint_uri(expected) == checkpoint_uri(str(tmp_path / "run")) == expected
    assert fetch_checkpoint(str(tmp_path / "run")) == Path(expected)


def test_an_address_without_one_is_refused_and_says_where_it_looked(tmp_path: Path) -> None:
    for opened in (checkpoint_uri, metadata_at, fetch_checkpoint):
        with pytest.raises(PipelineError, match=r"config.json there or in .*checkpoint"):
            opened(str(tmp_path))


def test_metadata_are_read_of_config_json_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoint"
    write_checkpoint(folder, width=96, height=48)
    (folder / "model.safetensors").unlink()
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    found = metadata_at(str(tmp_path / "run"))
    assert (found.family, found.stage, found.size) == ("v1", "v1.noisy", "tiny")
    assert (found.width, found.height) == (96, 48)
    assert len(found.weights_sha256) == 64
    assert metadata_at(str(folder)) == found


def test_metadata_of_an_unknown_family_are_refused_with_the_address(tmp_path: Path) -> None:
    write(str(tmp_path / "other"), json.dumps({"family": "rasc"}).encode())
    with pytest.raises(ModelError, match=f"{tmp_path}/other: a checkpoint of family 'rasc'"):
        metadata_at(str(tmp_path / "other"))


@pytest.mark.s3
def test_a_remote_checkpoint_is_copied_whole(s3_prefix: str) -> None:
    write(join(s3_prefix, "checkpoint"))
    local = fetch_checkpoint(s3_prefix)
    assert {path.name: path.read_bytes() for path in local.iterdir()} == {
        "config.json": b"{}",
        "model.safetensors": b"weights",
    }


@pytest.mark.s3
def test_a_remote_checkpoint_is_copied_again_only_where_it_is_another(
    s3_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads: list[str] = []

    def counted(uri: str, local: Path) -> Path:
        downloads.append(uri)
        return download_directory(uri, local)

    monkeypatch.setattr(checkpoints, "download_directory", counted)
    address = join(s3_prefix, "checkpoint")
    write(address)
    first = fetch_checkpoint(s3_prefix)
    assert fetch_checkpoint(s3_prefix) == fetch_checkpoint(address) == first
    assert downloads == [address]

    write(address, b'{"weights_sha256": "other"}', b"other weights")
    second = fetch_checkpoint(s3_prefix)
    assert (second / "model.safetensors").read_bytes() == b"other weights"
    assert fetch_checkpoint(address) == second
    assert downloads == [address, address]
    assert (first / "model.safetensors").read_bytes() == b"weights"  # whoever reads it still goes on with it
