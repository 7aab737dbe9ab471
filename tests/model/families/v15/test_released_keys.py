"""Names and shapes of the published v1.5 file, and nothing that it does not have."""

from dataclasses import replace

import pytest
import torch

from model.errors import ModelError
from model.families.v15.network import V15
from model.families.v15.released_keys import published_name
from model.families.v15.sizes import V15_SIZES, V15Config
from tests.model.golden import published_entries

TRAINED = ("model.diffusion_model.", "control_encoder.", "transformer.", "thresh_embedder.")


def test_names_and_shapes_of_the_published_size_are_the_official_ones() -> None:
    official = {key: shape for key, (shape, _) in published_entries("v15").items() if key.startswith(TRAINED)}
    with torch.device("meta"):
        model = V15(V15_SIZES["base"])
    ours = {published_name(name, model.config): str(list(t.shape)) for name, t in model.state_dict().items()}
    assert ours == official
    updates = [tensor for name, tensor in model.state_dict().items() if "ground_" in name]
    assert len(updates) == 192
    assert sum(tensor.numel() for tensor in updates) == 34_352_128


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (replace(V15_SIZES["base"], lora="thesis"), "lora=thesis"),
        (replace(V15_SIZES["base"], recovery="thesis"), "recovery=thesis"),
        (replace(V15_SIZES["base"], recovery="off"), "recovery=off"),
    ],
)
def test_shapes_that_were_not_released_have_no_released_layout(config: V15Config, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        published_name("unet.conv_in.weight", config)
