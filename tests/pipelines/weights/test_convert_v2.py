"""Released v2 files are recognised, become checkpoints and go back, bit by bit; what does not fit is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import load_checkpoint
from model.conversion.stable_diffusion_keys import to_ldm_autoencoder
from model.diffusion.noise import TIMESTEPS
from model.errors import ModelError
from model.families.v1.released_keys import schedule_buffers
from model.families.v2.family import FAMILY
from model.families.v2.network import V2
from model.families.v2.released_keys import published_name
from model.families.v2.sizes import V2_SIZES, V2Config
from model.frozen.codec import build_codec
from pipelines.weights.convert import convert, export
from pipelines.weights.inspection import inspect
from tests.model.golden import published_entries

CONFIG: V2Config = replace(V2_SIZES["tiny"], lora="released-v2")
SIZES = {"tiny": CONFIG}
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def released() -> Tensors:
    """A released file of the tiny size, with random numbers."""
    torch.manual_seed(0)
    with torch.device("meta"):
        state = V2(CONFIG).state_dict()
    weights = {published_name(name, CONFIG): torch.randn(tensor.shape) for name, tensor in state.items()}
    return weights | schedule_buffers()


def test_a_file_is_recognised_by_what_v1_has_not(released: Tensors, tmp_path: Path) -> None:
    save_file(released, tmp_path / "model.safetensors")
    found = inspect(str(tmp_path / "model.safetensors"), tmp_path, SIZES)
    assert found.kind is not None
    assert (found.kind.family, found.kind.layout) == ("v2", "released")
    assert {part.name: part.state for part in found.parts} == {
        "unet": "complete",
        "sketch encoder": "complete",
        "background encoder": "complete",
        "style encoder": "complete",
        "noise schedule": "complete",
    }
    assert found.unmatched == ()


def test_it_goes_there_and_back_bit_by_bit(released: Tensors, tmp_path: Path) -> None:
    save_file(released, tmp_path / "model.safetensors")
    metadata = convert(str(tmp_path / "model.safetensors"), str(tmp_path / "made"), "v", sizes=SIZES)
    assert (metadata.family, metadata.stage, metadata.prediction_type) == ("v2", "released", "v")
    model, _ = load_checkpoint(tmp_path / "made")
    assert isinstance(model, V2)
    assert model.config == CONFIG
    written = export(str(tmp_path / "made"), str(tmp_path / "back.safetensors"))
    back = load_file(tmp_path / "back.safetensors")
    assert written.entries == len(released) == len(back)
    assert all(torch.equal(back[key], tensor) for key, tensor in released.items())


@pytest.mark.parametrize("lost", ["bg_encoder.zero_layers.3.weight", "model.diffusion_model.style_modules.4.1.bias"])
def test_a_file_that_lacks_a_part_of_it_is_refused_by_name(released: Tensors, tmp_path: Path, lost: str) -> None:
    save_file({key: tensor for key, tensor in released.items() if key != lost}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=lost):
        convert(str(tmp_path / "model.safetensors"), str(tmp_path / "made"), "v", sizes=SIZES)
    assert not (tmp_path / "made").exists()


def test_the_published_file_has_as_many_entries_and_numbers() -> None:
    official = published_entries("v2")
    assert len(official) == 1_884
    with torch.device("meta"):
        model, autoencoder = V2(V2_SIZES["base"]).state_dict(), build_codec("sd-vae").autoencoder.state_dict()
    assert FAMILY.keys is not None
    names = {published_name(name, V2_SIZES["base"]) for name in model}
    names |= set(to_ldm_autoencoder(autoencoder)) | set(FAMILY.keys.constants())
    assert names == set(official)
    numbers = sum(tensor.numel() for tensor in (*model.values(), *autoencoder.values())) + 12 * TIMESTEPS
    assert numbers == 1_747_630_363
