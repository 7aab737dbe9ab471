"""Released v1.5 and v2 files are recognised, become checkpoints and go back; what does not fit is refused."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import load_checkpoint
from model.conversion.stable_diffusion_keys import to_ldm_autoencoder
from model.diffusion.noise import TIMESTEPS, PredictionType
from model.errors import ModelError
from model.families.registry import family
from model.families.v1.released_keys import schedule_buffers
from model.families.v2.network import V2
from model.families.v2.released_keys import published_name as v2_name
from model.families.v2.sizes import V2_SIZES
from model.families.v15.network import V15
from model.families.v15.released_keys import published_name as v15_name
from model.families.v15.sizes import V15_SIZES
from model.frozen.codec import build_codec
from pipelines.weights.convert import convert, export
from pipelines.weights.inspection import inspect
from tests.model.golden import published_entries

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Released:
    """A family's released files: their network at a tiny and at the published size, and what they hold."""

    family: str
    network: type[V15] | type[V2]
    name: Callable[[str, Any], str]
    tiny: Any
    base: Any
    prediction: PredictionType
    parts: tuple[str, ...]
    entries: int
    numbers: int


CASES = {
    "v15": Released(
        "v15",
        V15,
        v15_name,
        replace(V15_SIZES["tiny"], lora="released-v15", recovery="released", recovery_layers=1),
        V15_SIZES["base"],
        "eps",
        ("recovery transformer", "threshold embedder"),
        1_263,
        1_125_033_499,
    ),
    "v2": Released(
        "v2",
        V2,
        v2_name,
        replace(V2_SIZES["tiny"], lora="released-v2"),
        V2_SIZES["base"],
        "v",
        ("background encoder", "style encoder"),
        1_884,
        1_747_630_363,
    ),
}


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Released:
    return CASES[request.param]


def file_of(case: Released) -> Tensors:
    """A released file of the tiny size, with random numbers."""
    torch.manual_seed(0)
    with torch.device("meta"):
        state = case.network(case.tiny).state_dict()
    weights = {case.name(name, case.tiny): torch.randn(tensor.shape) for name, tensor in state.items()}
    return weights | schedule_buffers()


@pytest.fixture(scope="module")
def released(case: Released) -> Tensors:
    return file_of(case)


def test_a_file_is_recognised_by_what_v1_has_not(case: Released, released: Tensors, tmp_path: Path) -> None:
    save_file(released, tmp_path / "model.safetensors")
    found = inspect(str(tmp_path / "model.safetensors"), tmp_path, {"tiny": case.tiny})
    assert found.kind is not None
    assert (found.kind.family, found.kind.layout) == (case.family, "released")
    parts = ("unet", "sketch encoder", *case.parts, "noise schedule")
    assert {part.name: part.state for part in found.parts} == dict.fromkeys(parts, "complete")
    assert found.unmatched == ()


def test_it_goes_there_and_back_bit_by_bit(case: Released, released: Tensors, tmp_path: Path) -> None:
    save_file(released, tmp_path / "model.safetensors")
    sizes = {"tiny": case.tiny}
    metadata = convert(str(tmp_path / "model.safetensors"), str(tmp_path / "made"), case.prediction, sizes=sizes)
    assert (metadata.family, metadata.stage, metadata.prediction_type) == (case.family, "released", case.prediction)
    model, _ = load_checkpoint(tmp_path / "made")
    assert isinstance(model, case.network)
    assert model.config == case.tiny
    written = export(str(tmp_path / "made"), str(tmp_path / "back.safetensors"))
    back = load_file(tmp_path / "back.safetensors")
    assert written.entries == len(released) == len(back)
    assert all(torch.equal(back[key], tensor) for key, tensor in released.items())


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("v15", "transformer.embedding"),
        ("v15", "thresh_embedder.embed_layer.0.bias"),
        ("v2", "bg_encoder.zero_layers.3.weight"),
        ("v2", "model.diffusion_model.style_modules.4.1.bias"),
    ],
)
def test_a_file_that_lacks_a_part_of_it_is_refused_by_name(tmp_path: Path, name: str, lost: str) -> None:
    case = CASES[name]
    whole = file_of(case)
    assert lost in whole
    save_file({key: tensor for key, tensor in whole.items() if key != lost}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=lost):
        convert(str(tmp_path / "model.safetensors"), str(tmp_path / "made"), case.prediction, sizes={"tiny": case.tiny})
    assert not (tmp_path / "made").exists()


def test_the_published_file_has_as_many_entries_and_numbers(case: Released) -> None:
    official = published_entries(case.family)
    assert len(official) == case.entries
    with torch.device("meta"):
        model, autoencoder = case.network(case.base).state_dict(), build_codec("sd-vae").autoencoder.state_dict()
    keys = family(case.family).keys
    assert keys is not None
    names = {case.name(name, case.base) for name in model}
    names |= set(to_ldm_autoencoder(autoencoder)) | set(keys.constants())
    assert names == set(official)
    assert sum(tensor.numel() for tensor in (*model.values(), *autoencoder.values())) + 12 * TIMESTEPS == case.numbers
