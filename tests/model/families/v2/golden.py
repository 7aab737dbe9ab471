"""A small v2 with the golden weights, as the released code's numbers were made with it."""

import json
from typing import Any

import torch

from model.families.v2.network import V2
from model.families.v2.released_keys import published_name
from model.families.v2.sizes import V2Config
from tests.model.golden import golden, rule_weight


def ruled_config(**changes: Any) -> V2Config:
    """The configuration of the golden files, in our words."""
    found = json.loads(golden("v2_unet")[1]["config"])
    unet, encoder = found["unet"], found["bg_encoder"]
    assert found["lora"] == {"fr": 4, "br": 4}
    assert encoder["adm_in_channels"] == 2 * found["ratio_embedder"]["embed_dim"]
    values: dict[str, Any] = {
        "model_channels": unet["model_channels"],
        "channel_multipliers": tuple(unet["channel_mult"]),
        "res_blocks": unet["num_res_blocks"],
        "head_width": unet["num_head_channels"],
        "context_width": unet["context_dim"],
        "ratio_width": found["ratio_embedder"]["embed_dim"],
        "codec": "tiny",
        "image_encoder": "tiny",
    }
    return V2Config(**values | changes)


def ruled_v2() -> tuple[V2, dict[str, torch.Tensor]]:
    """The network with weights by rule, and those weights under their official keys."""
    model = V2(ruled_config())
    names = {name: published_name(name, model.config) for name in model.state_dict()}
    weights = {names[name]: rule_weight(names[name], tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: weights[key] for name, key in names.items()})
    return model.eval(), weights
