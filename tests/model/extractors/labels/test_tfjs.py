"""Bundled TensorFlow.js models: the values by hand, and files that nobody should trust."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.errors import ModelError
from model.extractors.labels import tfjs
from model.extractors.labels.tfjs import read_bundle
from tests.model.extractors.labels.tfjs_package import MODULE, Quantized, described, write_bundle, write_module

TWO = {
    "a/kernel": Quantized(-1.0, 0.5, np.array([[0, 1, 2], [3, 4, 255]], np.uint8)),
    "b/bias": Quantized(-0.25, 0.001, np.array([10], np.uint8)),
}
TOPOLOGY = {"name": "n", "on": True, "off": False, "none": None, "half": 0.5, "low": -0.125, "of": [3, -4, 1e-05]}


def bundle(folder: Path, entries: list[dict[str, Any]] | None = None, paths: list[str] | None = None) -> Path:
    """The bundle of TWO, with another manifest."""
    write_bundle(folder, TOPOLOGY, TWO, shards=1)
    told = [described(name, tensor) for name, tensor in TWO.items()] if entries is None else entries
    manifest = [{"paths": ["group1-shard1of1"] if paths is None else paths, "weights": told}]
    write_module(folder / "model.min.js", {"modelTopology": TOPOLOGY, "weightsManifest": manifest})
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_a_tensor_is_its_smallest_value_and_steps_whatever_shards_it_is_cut_into(tmp_path: Path, shards: int) -> None:
    write_bundle(tmp_path / "m", TOPOLOGY, TWO, shards)
    topology, tensors = read_bundle(tmp_path / "m")
    assert topology == TOPOLOGY
    np.testing.assert_array_equal(tensors["a/kernel"], [[-1, -0.5, 0], [0.5, 1, 126.5]])
    np.testing.assert_allclose(tensors["b/bias"], [-0.24], rtol=1e-6)
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}


def test_the_writer_of_these_tests_leaves_quotes_and_words_away_as_minifiers_do(tmp_path: Path) -> None:
    write_module(tmp_path / "m.js", TOPOLOGY)
    text = (tmp_path / "m.js").read_text()
    assert '{name:"n",on:!0,off:!1,none:null,half:.5,low:-.125,of:[3,-4,1e-05]}' in text


def first(**changes: Any) -> list[dict[str, Any]]:
    entries = [described(name, tensor) for name, tensor in TWO.items()]
    return [entries[0] | changes, entries[1]]


@pytest.mark.parametrize(
    "entries",
    [
        first(shape=[2, 4]),
        first(shape=[2, 2]),
        first(shape=[-2, -3]),
        first(shape=[2**40, 2**40]),
        first(shape=[6.0]),
        first(shape="6"),
        first(dtype="int32"),
        first(quantization={"min": 0, "scale": 1, "dtype": "uint16"}),
        first(quantization={}),
        [],
        {"name": "a"},
    ],
)
def test_a_manifest_that_does_not_fit_its_bytes_is_refused(tmp_path: Path, entries: Any) -> None:
    with pytest.raises(ModelError, match="bundled as JavaScript"):
        read_bundle(bundle(tmp_path / "m", entries))


@pytest.mark.parametrize("path", ["../model", "/etc/passwd", "group1-shard1of1/../x", "", 5, "missing"])
def test_shards_are_files_of_the_folder_by_plain_names(tmp_path: Path, path: Any) -> None:
    with pytest.raises(ModelError):
        read_bundle(bundle(tmp_path / "m", paths=[path]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n.exports=",
        "n.exports=fetch('x')",
        "n.exports={a:run()}",
        "n.exports={a:1",
        "n.exports={a:'x'}",
        "n.exports={a:1e999}",
        "n.exports={a:void 0}",
        "n.exports=" + "{a:" * 100_000,
        "n.exports={a:" + "[" * 100_000 + "]" * 100_000 + "}",
        "n.exports={a:" + "9" * 100_000 + "}",
        "\ud800".encode("utf-8", "surrogatepass"),
    ],
)
def test_what_is_no_literal_is_not_run_and_refused(tmp_path: Path, text: str | bytes) -> None:
    folder = bundle(tmp_path / "m")
    data = text.encode() if isinstance(text, str) else text
    (folder / "model.min.js").write_bytes(data)
    with pytest.raises(ModelError):
        read_bundle(folder)


def test_a_shard_that_is_no_base64_is_refused(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "m")
    (folder / "group1-shard1of1.min.js").write_text(MODULE.format(json.dumps("AAEC*AwT/Cg==")))
    with pytest.raises(ModelError):
        read_bundle(folder)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bundle(tmp_path / "m")
    monkeypatch.setattr(tfjs, "MOST_FILE_BYTES", 10)
    with pytest.raises(ModelError, match=r"model\.min\.js is larger"):
        read_bundle(folder)
