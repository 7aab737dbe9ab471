"""Frozen networks are found beside the checkpoint, else in the weight store; else the way to have them is told."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from model.conversion.stable_diffusion_keys import to_ldm_autoencoder
from model.frozen.codec import build_codec
from model.frozen.image_encoder import build_image_encoder
from model.weights.catalogue import CATALOGUE
from model.weights.reading import sha256
from pipelines.common.errors import PipelineError
from pipelines.weights.frozen import bundled_networks, copy_bundled, weights_file
from pipelines.weights.intake import used_tensors
from pipelines.weights.store import build_network


def keep(store: Path, name: str) -> Path:
    """A file of that name in the store, with the record that `irodori weights add` writes."""
    store.mkdir(exist_ok=True)
    path = store / f"{name}.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    digest = sha256(path)
    record: dict[str, Any] = {
        "name": name,
        "sha256": digest,
        "files": {path.name: digest},
        "source": "a test",
        "source_sha256": digest,
    }
    record |= {"known_sha256": None, "licence": "none", "format": "safetensors"}
    (store / f"{name}.json").write_text(json.dumps(record))
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(tmp_path / "store"))
    return tmp_path / "store"


def test_the_checkpoint_s_own_network_goes_before_the_store_s(store: Path, tmp_path: Path) -> None:
    kept = keep(store, "sd-vae")
    assert weights_file("sd-vae") == weights_file("sd-vae", tmp_path) == kept
    save_file({"b": torch.zeros(1)}, tmp_path / "sd-vae.safetensors")
    assert weights_file("sd-vae", tmp_path) == tmp_path / "sd-vae.safetensors"
    assert weights_file("tiny", tmp_path) is None


def test_what_lies_in_a_parent_is_copied_bit_by_bit(tmp_path: Path) -> None:
    parent, child = tmp_path / "parent", tmp_path / "child"
    for folder in (parent, child):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    save_file({"vae": torch.ones(2)}, parent / "sd-vae.safetensors")
    own = (child / "model.safetensors").read_bytes()
    found = bundled_networks(str(parent))
    assert found == {"sd-vae.safetensors": sha256(parent / "sd-vae.safetensors")}
    copy_bundled(found, parent, str(child))
    assert weights_file("sd-vae", child) == child / "sd-vae.safetensors"
    assert bundled_networks(str(child)) == found
    assert (child / "model.safetensors").read_bytes() == own
    save_file({"vae": torch.zeros(2)}, parent / "sd-vae.safetensors")
    with pytest.raises(PipelineError, match=r"sd-vae\.safetensors: no longer the file that this stage started from"):
        copy_bundled(found, parent, str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("network", "command"),
    [
        ("sd-vae", "irodori weights add sd-vae hf://stabilityai/sd-vae-ft-mse/"),
        ("ViT-H-14", "irodori weights add ViT-H-14 hf://laion/CLIP-ViT-H-14-laion2B-s32B-b79K/"),
    ],
)
def test_an_absent_network_is_asked_for_by_the_command_that_brings_it(
    store: Path, network: str, command: str, tmp_path: Path
) -> None:
    with pytest.raises(PipelineError, match=command):
        weights_file(network, tmp_path)


def test_a_damaged_network_of_the_store_is_refused(store: Path) -> None:
    path = keep(store, "ViT-H-14")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(PipelineError, match="damaged, its sha256 is"):
        weights_file("ViT-H-14")


def test_an_id_out_of_a_hostile_checkpoint_reaches_no_file(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "secret.safetensors")
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(PipelineError, match=r"there is no frozen network '\.\./secret'"):
        weights_file("../secret", tmp_path / "checkpoint")


def test_the_published_files_hold_what_the_store_keeps() -> None:
    with torch.device("meta"):
        clip = open_clip.create_model("ViT-H-14", device="meta").state_dict()
        codec = build_codec("sd-vae").autoencoder.state_dict()
        tower = build_image_encoder("ViT-H-14").vit.state_dict()
        expected = {name: build_network(name, {}).state_dict() for name in ("ViT-H-14", "sd-vae")}
    ours = used_tensors(CATALOGUE["ViT-H-14"], clip)
    assert len(clip) > len(ours)
    assert set(expected["ViT-H-14"]) == set(ours) == {f"visual.{key}" for key in tower}
    released = to_ldm_autoencoder(codec) | {"model.diffusion_model.out.2.bias": torch.zeros(4), "betas": torch.ones(9)}
    found = used_tensors(CATALOGUE["sd-vae"], released)
    assert {key: tensor.shape for key, tensor in found.items()} == {
        key: tensor.shape for key, tensor in expected["sd-vae"].items()
    }
