"""Our names and the released ones are one to one, and nothing that does not match passes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.errors import ModelError
from model.families.v1.network import V1
from model.families.v1.released_keys import published_names, schedule_buffers, to_published
from model.families.v1.sizes import V1_SIZES
from tests.model.golden import oracle, published_entries

OFFICIAL = Path(__file__).parents[5] / "shared" / "spec" / "keys" / "v1.txt"


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the list of official keys is not beside this checkout")
def test_names_and_shapes_of_the_published_size_are_the_official_ones() -> None:
    lines = [line.split("\t") for line in OFFICIAL.read_text().splitlines() if not line.startswith("#")]
    trained = ("model.diffusion_model.", "control_encoder.")
    official = {key: shape for key, shape, _ in lines if key.startswith(trained)}
    with torch.device("meta"):
        ours = to_published(V1(V1_SIZES["base"]))
    assert {key: str(list(tensor.shape)) for key, tensor in ours.items()} == official


def test_names_of_stable_diffusion_numbering() -> None:
    with torch.device("meta"):
        model = V1(V1_SIZES["base"])
    table = published_names(model.state_dict(), model.config)
    unet, sketch = "model.diffusion_model.", "control_encoder."
    assert table["unet.conv_in.weight"] == unet + "input_blocks.0.0.weight"
    assert table["unet.down_blocks.3.resnets.1.conv1.bias"] == unet + "input_blocks.11.0.in_layers.2.bias"
    assert table["unet.up_blocks.0.upsamplers.0.conv.bias"] == unet + "output_blocks.2.1.conv.bias"
    assert table["unet.up_blocks.1.upsamplers.0.conv.bias"] == unet + "output_blocks.5.2.conv.bias"
    assert table["sketch_encoder.block_hints.3.bias"] == sketch + "zero_blocks.3.0.bias"


def test_the_schedule_buffers_are_the_released_ones() -> None:
    made, (expected, _) = schedule_buffers(), oracle("schedule")
    assert {key for key in published_entries("v1") if "." not in key} == set(made)
    assert len(expected) == 7
    for name, values in expected.items():
        torch.testing.assert_close(made[name], values, rtol=2e-6, atol=1e-9)


def test_a_network_with_other_reference_tokens_has_no_released_layout() -> None:
    with torch.device("meta"):
        model = V1(replace(V1_SIZES["tiny"], reference_tokens="cls"))
    with pytest.raises(ModelError, match="reference_tokens=local only, not cls"):
        to_published(model)
