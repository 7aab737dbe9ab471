"""A small v1.5 with the golden weights, as the released code's numbers were made with it."""

import json
from typing import Any

import torch

from model.families.v15.network import V15
from model.families.v15.released_keys import published_name
from model.families.v15.sizes import V15Config
from tests.model.golden import golden, rule_weight


def ruled_config(**changes: Any) -> V15Config:
    """The configuration of the golden files, in our words."""
    found = json.loads(golden("v15_unet")[1]["config"])
    unet, recovery = found["unet"], found["transformer"]
    values: dict[str, Any] = {
        "model_channels": unet["model_channels"],
        "channel_multipliers": tuple(unet["channel_mult"]),
        "res_blocks": unet["num_res_blocks"],
        "head_width": unet["num_head_channels"],
        "context_width": unet["context_dim"],
        "codec": "tiny",
        "image_encoder": "tiny",
        "recovery_layers": recovery["layers"],
        "recovery_queries": recovery["token_length"],
        "threshold_width": found["thresh_embedder"]["embed_dim"],
    }
    return V15Config(**values | changes)


def ruled_v15() -> tuple[V15, dict[str, torch.Tensor]]:
    """The network with weights by rule, and those weights under their official keys."""
    model = V15(ruled_config())
    names = {name: published_name(name, model.config) for name in model.state_dict()}
    weights = {names[name]: rule_weight(names[name], tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: weights[key] for name, key in names.items()})
    return model.eval(), weights
