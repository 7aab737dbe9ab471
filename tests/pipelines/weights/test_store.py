"""The weight store: what is asked for by hash is what is loaded, and everything else is refused in one line."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dataprep.errors import DataError
from dataprep.storage.store import list_files, read_bytes, write_whole
from model.extractors.lines.sketch_keras import FusedSketchKeras, SketchKeras
from model.weights.catalogue import CATALOGUE, Published
from model.weights.reading import read_tensors
from model.weights.reading import sha256 as sha256_of
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.weights import store as weights
from pipelines.weights.intake import add
from pipelines.weights.store import all_stored, build_network, command_to_get, load_network, store_address, stored
from tests.model.golden import off, with_rule_weights
from tests.pipelines.weights.weight_helpers import HEAD, TAGGER, head_file, tagger_folder


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store that holds the small head of the aesthetic score."""
    add(HEAD, str(head_file(tmp_path)), str(tmp_path / "store"), accept_other_sha256=True)
    return str(tmp_path / "store")


def test_the_store_is_the_one_given_else_of_the_environment_else_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("IRODORI_WEIGHTS", raising=False)
    assert store_address() == str(tmp_path / "irodori" / "weights")
    monkeypatch.setenv("IRODORI_WEIGHTS", "s3://bucket/weights/")
    assert store_address() == "s3://bucket/weights"
    assert store_address("/given") == "/given"


def test_a_user_without_any_home_is_asked_for_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "IRODORI_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    with_entry = store_address()
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as in a container whose user is a number alone
    with pytest.raises(PipelineError, match=r"no home directory .* IRODORI_WEIGHTS"):
        store_address()
    assert with_entry.endswith("/.cache/irodori/weights")
    assert store_address("/given") == "/given"


def test_what_a_store_holds_is_told_by_its_records_alone(store: str) -> None:
    record = stored(HEAD, store)
    file = Path(store) / f"{HEAD}.safetensors"
    assert record.sha256 == sha256_of(file)
    assert (record.name, record.known_sha256, record.licence) == (HEAD, False, CATALOGUE[HEAD].licence)
    file.unlink()
    assert stored(HEAD, store) == record
    assert all_stored(store) == {HEAD: record}
    assert all_stored(store + "/nothing") == {}


@pytest.mark.parametrize("name", ["hed", "isnetis", "anime2sketch_improved"])
def test_missing_weights_are_told_with_the_command_that_brings_them(tmp_path: Path, name: str) -> None:
    wanted = {
        "hed": "irodori weights get hed",
        "isnetis": "irodori weights add isnetis hf://skytnt/anime-seg/isnetis.ckpt",
        "anime2sketch_improved": "irodori weights add anime2sketch_improved ADDRESS (published: the link in",
    }
    with pytest.raises(PipelineError, match=re.escape(wanted[name])) as error:
        stored(name, str(tmp_path))
    assert f"--store {tmp_path}" in str(error.value)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean isnetis"):
        stored("isnet_is", str(tmp_path))


@pytest.mark.parametrize(
    "harm",
    [
        lambda record: "no json",
        lambda record: "[1]",
        lambda record: json.dumps(record | {"more": 1}),
        lambda record: json.dumps(record | {"sha256": "0" * 64}),
        lambda record: json.dumps(record | {"files": {"../../secret": record["sha256"]}}),
        lambda record: json.dumps(record | {"files": ["a"]}),
    ],
)
def test_a_record_that_says_something_else_is_refused(store: str, harm: Callable[[dict[str, Any]], str]) -> None:
    path = Path(store) / f"{HEAD}.json"
    path.write_text(harm(json.loads(path.read_text())))
    with pytest.raises(PipelineError, match="no record of these weights, or a damaged one"):
        stored(HEAD, store)


def test_a_network_is_loaded_once_for_evaluation_with_the_stored_tensors(store: str) -> None:
    sha256 = stored(HEAD, store).sha256
    network = load_network(HEAD, sha256, store)
    assert load_network(HEAD, sha256=sha256, store=store + "/", device="cpu") is network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    tensors = read_tensors(Path(store) / f"{HEAD}.safetensors")
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in network.state_dict().items())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_half_precision_is_used_where_the_network_holds_in_it(store: str) -> None:
    sha256 = stored(HEAD, store).sha256
    network: Any = load_network(HEAD, sha256, store)
    holds = type(network).half_precision
    assert "float16" in holds
    assert "bfloat16" not in holds
    half = load_network(HEAD, sha256, store, precision="float16")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float16}
    full = load_network(HEAD, sha256, store, precision="bfloat16")
    assert {parameter.dtype for parameter in full.parameters()} == {torch.float32}


def test_a_network_with_a_faster_form_is_loaded_in_it_and_in_what_precision_that_holds(tmp_path: Path) -> None:
    network = with_rule_weights(SketchKeras())
    torch.save(network.state_dict(), tmp_path / "model.pth")
    record = add("sketch_keras", str(tmp_path / "model.pth"), str(tmp_path / "store"))
    loaded = load_network("sketch_keras", record.sha256, str(tmp_path / "store"))
    assert isinstance(loaded, FusedSketchKeras)
    detail = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert off(loaded(detail), network(detail)) < 3e-6
    half = load_network("sketch_keras", record.sha256, str(tmp_path / "store"), precision="bfloat16")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_other_weights_than_asked_for_are_refused(store: str) -> None:
    with pytest.raises(PipelineError, match=r"and not 111111111111…, which are asked for"):
        load_network(HEAD, "1" * 64, store)


def test_a_changed_byte_in_the_store_is_found(store: str) -> None:
    path = Path(store) / f"{HEAD}.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(PipelineError, match=r"damaged, its sha256 is .*: irodori weights add"):
        load_network(HEAD, stored(HEAD, store).sha256, store)
    path.unlink()
    with pytest.raises(PipelineError, match="this file of the store is missing: irodori weights add"):
        load_network(HEAD, stored(HEAD, store).sha256, store)


def test_companions_make_the_network_and_count_in_its_hash(tmp_path: Path) -> None:
    store, folder = str(tmp_path / "store"), tagger_folder(tmp_path)
    record = add(TAGGER, str(folder), store, accept_other_sha256=True)
    assert set(record.files) == {f"{TAGGER}.{end}" for end in ("safetensors", "config.json", "selected_tags.csv")}
    network: Any = load_network(TAGGER, record.sha256, store)
    assert network.labels.names[:5] == ("general", "sensitive", "questionable", "explicit", "1girl")
    tags = folder / "selected_tags.csv"
    tags.write_text(tags.read_text().replace("1girl", "1boy"))
    other = add(TAGGER, str(folder), store, accept_other_sha256=True)
    assert other.sha256 != record.sha256
    network = load_network(TAGGER, other.sha256, store)
    assert network.labels.names[4] == "1boy"


class WithTable(nn.Linear):
    """A network with a buffer that no file holds, beside its weights."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.register_buffer("constant", torch.arange(3.0), persistent=False)


class WithTensor(nn.Linear):
    """A network that keeps a tensor which is no buffer."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.constant = torch.arange(3.0)


@pytest.mark.parametrize("network", [WithTable, WithTensor])
def test_constants_that_no_file_holds_have_their_values(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: type[nn.Module]
) -> None:
    entry = Published(f"{__name__}:{network.__name__}", "a test's", "MIT", ("a.pth",))
    monkeypatch.setitem(CATALOGUE, "with_constant", entry)
    torch.save(network().state_dict(), tmp_path / "a.pth")
    record = add("with_constant", str(tmp_path / "a.pth"), str(tmp_path / "store"))
    assert record.known_sha256 is None
    loaded: Any = load_network("with_constant", record.sha256, str(tmp_path / "store"))
    assert torch.equal(loaded.constant, torch.arange(3.0))


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if not entry.companions])
def test_every_network_of_the_catalogue_is_there_and_shows_its_keys_without_memory(name: str) -> None:
    with torch.device("meta"):
        state = build_network(name, {}).state_dict()
    assert state
    assert all(tensor.is_meta for tensor in state.values())


def test_every_entry_has_a_way_to_have_it() -> None:
    for name, entry in CATALOGUE.items():
        assert entry.hub or entry.package or entry.elsewhere, name
        assert command_to_get(name).startswith(f"irodori weights {'get' if entry.package else 'add'} {name}")
        assert all(address.startswith("hf://") for address in entry.hub)


@pytest.mark.s3
def test_weights_on_s3_are_fetched_once_and_mended_from_there(
    s3_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    uri = f"{s3_prefix}/weights"
    record = add(HEAD, str(head_file(tmp_path)), uri, accept_other_sha256=True)
    assert sorted(entry.uri for entry in list_files(uri)) == [f"{uri}/{HEAD}.json", f"{uri}/{HEAD}.safetensors"]
    assert stored(HEAD, uri) == record
    load_network(HEAD, record.sha256, uri)
    copy = tmp_path / "cache" / "irodori" / "fetched" / record.sha256 / f"{HEAD}.safetensors"
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1])
    weights._loaded.cache_clear()
    load_network(HEAD, record.sha256, uri)
    assert copy.read_bytes() == whole
    write_whole(f"{uri}/{HEAD}.safetensors", b"other")
    weights._loaded.cache_clear()
    load_network(HEAD, record.sha256, uri)  # from the copy
    copy.unlink()
    weights._loaded.cache_clear()
    with pytest.raises(PipelineError, match="damaged"):
        load_network(HEAD, record.sha256, uri)
    assert not [path for path in copy.parent.iterdir() if path.is_dir()]


@pytest.mark.s3
def test_a_store_on_s3_that_is_not_there_is_told(s3_prefix: str) -> None:
    bucket = s3_prefix.split("/")[2]
    with pytest.raises(DataError, match=r"no such bucket|no such file"):
        read_bytes(f"s3://{bucket}-nowhere/weights/{HEAD}.json")
    with pytest.raises(PipelineError, match=f"are not in {s3_prefix}"):
        stored(HEAD, s3_prefix)


def test_a_record_keeps_every_field(store: str) -> None:
    document = json.loads((Path(store) / f"{HEAD}.json").read_text())
    assert set(document) == {field.name for field in dataclasses.fields(weights.StoredWeights)}
    assert document["source"].endswith("aesthetic_predictor_v2_5.pth")
    assert document["format"] == "torch"
