"""Files of others are hostile: only tensors are read, and what is damaged or odd is one ModelError."""

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.errors import ModelError
from model.weights.foreign_files import open_weights, precisions, read_published
from tests.model.weights.unpickled import Runs

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}


def safetensors(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".bin"])
def test_shapes_come_first_and_numbers_when_they_are_asked_for(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".safetensors":
        save_file(TENSORS, path, {"modelspec.prediction_type": "v"})
    else:
        torch.save({"state_dict": TENSORS, "global_step": 3}, path, _use_new_zipfile_serialization=suffix == ".ckpt")
    found = open_weights(path)
    assert {key: (tensor.shape, tensor.dtype) for key, tensor in found.tensors.items()} == {
        key: (tensor.shape, tensor.dtype) for key, tensor in TENSORS.items()
    }
    assert all(tensor.is_meta for tensor in found.tensors.values())
    assert found.metadata == ({"modelspec.prediction_type": "v"} if suffix == ".safetensors" else {})
    assert precisions(found.tensors.values()) == {"float32": 6, "float16": 4}
    (some,) = found.read(["b"]).values()
    assert torch.equal(some, TENSORS["b"])
    assert read_published(path).keys() == TENSORS.keys()


@pytest.mark.parametrize("archive", [True, False])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, archive: bool) -> None:
    path, trap = tmp_path / "a.ckpt", tmp_path / "trap"
    if archive:
        torch.save({"state_dict": TENSORS, "callbacks": Runs(trap)}, path)
    else:
        path.write_bytes(pickle.dumps(Runs(trap)))
    with pytest.raises(ModelError, match="could run code and is never loaded"):
        open_weights(path)
    assert not trap.exists()


def header(**entries: object) -> bytes:
    return json.dumps(entries).encode()


@pytest.mark.parametrize(
    ("content", "data", "length"),
    [
        (b"", b"", 2**63),
        (b"{}", b"", 2**40),
        (b"[" * 5000, b"", None),
        (header(a={"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}), b"1234", None),
        (header(a={"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}), b"1234", None),
        (header(a={"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}), b"1234", None),
    ],
    ids=["longest", "long", "deep", "vast shape", "beyond the end", "before the start"],
)
def test_absurd_headers_are_refused(tmp_path: Path, content: bytes, data: bytes, length: int | None) -> None:
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        open_weights(safetensors(tmp_path / "a.safetensors", content, data, length))


def test_a_truncated_file_is_refused_before_its_numbers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        open_weights(path)


@pytest.mark.parametrize("key", ["a\nirodori: all is well", "\x1b[2J", "x" * 600])
def test_keys_that_a_terminal_should_not_see_are_refused(tmp_path: Path, key: str) -> None:
    save_file({key: torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="is no name of a tensor") as caught:
        open_weights(tmp_path / "a.safetensors")
    assert str(caught.value).isprintable()


def test_sparse_tensors_and_other_content_are_no_weights(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2, 2).to_sparse()}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="no plain tensor"):
        open_weights(tmp_path / "a.pth")
    torch.save([torch.zeros(1)], tmp_path / "b.pth")
    with pytest.raises(ModelError, match="it holds list and no state dict"):
        open_weights(tmp_path / "b.pth")
    (tmp_path / "c.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"ends in \.safetensors"):
        open_weights(tmp_path / "c.onnx")
    with pytest.raises(ModelError, match="is missing"):
        open_weights(tmp_path / "d.ckpt")
