"""Names and shapes of the published v2 file, and nothing that it does not have."""

from dataclasses import replace

import pytest
import torch

from model.errors import ModelError
from model.families.v2.network import V2
from model.families.v2.released_keys import published_name
from model.families.v2.sizes import V2_SIZES, V2Config
from tests.model.golden import published_entries

TRAINED = ("model.diffusion_model.", "control_encoder.", "bg_encoder.", "style_encoder.")


def test_names_and_shapes_of_the_published_size_are_the_official_ones() -> None:
    official = {key: shape for key, (shape, _) in published_entries("v2").items() if key.startswith(TRAINED)}
    with torch.device("meta"):
        model = V2(V2_SIZES["base"])
    ours = {published_name(name, model.config): str(list(t.shape)) for name, t in model.state_dict().items()}
    assert ours == official
    parts = {"updates": model.updates(), "background": model.of_background(), "style": model.of_style()}
    numbers = {name: sum(p.numel() for part in own for p in part.parameters()) for name, own in parts.items()}
    assert numbers == {
        "updates": 362_496, "background": 266_104_960 + 118_060_800, "style": 276_970_880 + 72_583_680
    }  # fmt: skip


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (replace(V2_SIZES["base"], lora="thesis"), "lora=thesis"),
        (replace(V2_SIZES["base"], split_encoders=True), "split_encoders=True"),
        (replace(V2_SIZES["base"], style=False), "style=False"),
        (replace(V2_SIZES["base"], background=False), "background=False"),
    ],
)
def test_shapes_that_were_not_released_have_no_released_layout(config: V2Config, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        published_name("unet.conv_in.weight", config)
