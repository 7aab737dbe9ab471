"""Golden numbers of released code, and the rule that makes the weights they were made with.

The files are copies of the oracle's (sketches keep one of their three equal channels), or were made in the same way. A
weight is a function of its official key and shape only, so agreement also proves the names.
"""

import json
import zlib
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from safetensors import safe_open
from torch import nn

from model.families.v1.network import V1
from model.families.v1.released_keys import published_names, to_published
from model.families.v1.sizes import V1Config

ASSETS = Path(__file__).parents[1] / "assets"
SHARED = Path(__file__).parents[3] / "shared"
SPEC = SHARED / "spec" / "keys"
CONV_GAIN = 1.4
Network = TypeVar("Network", bound=nn.Module)


def golden(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """(tensors, metadata) of one file; a sketch comes back with three channels."""
    with safe_open(ASSETS / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = file.metadata()
    if "sketch" in tensors:
        tensors["sketch"] = tensors["sketch"].expand(-1, 3, -1, -1).contiguous()
    return tensors, metadata


def oracle(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """(tensors, metadata) of one file that is too large to be kept here. Skips the test where it is not at hand."""
    path = SHARED / "oracle" / f"{name}.safetensors"
    if not path.exists():
        pytest.skip("the golden numbers of published size are not beside this checkout")
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118 (not a dict)


def rule_weight(key: str, shape: torch.Size, conv_gain: float = CONV_GAIN) -> torch.Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    normal = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if key.endswith("running_var"):
        return normal.abs() + 0.5
    if normal.ndim == 1:
        return 1 + 0.1 * normal if key.endswith(".weight") else 0.1 * normal
    gain = conv_gain if normal.ndim == 4 and shape[-1] > 1 else 1.0
    return normal * gain / (normal.numel() / shape[0]) ** 0.5


def with_rule_weights(network: Network, conv_gain: float = CONV_GAIN) -> Network:
    """`network`, whose keys are the published ones, with weights by rule, for evaluation. Constant kernels stay."""
    state = network.state_dict()
    ruled = {key: tensor.shape for key, tensor in state.items() if not key.endswith("smooth.kernel")}
    network.load_state_dict(state | {key: rule_weight(key, shape, conv_gain) for key, shape in ruled.items()})
    return network.eval()


def published_entries(name: str) -> dict[str, tuple[str, str]]:
    """Key -> (shape, dtype) of the list of a published file's entries. Skips the test where there is no list."""
    path = SPEC / f"{name}.txt"
    if not path.exists():
        pytest.skip("the lists of published keys are not beside this checkout")
    lines = [line.split("\t") for line in path.read_text().splitlines() if not line.startswith("#")]
    return {key: (shape, dtype) for key, shape, dtype in lines}


def entries(network: nn.Module) -> dict[str, tuple[str, str]]:
    """Key -> (shape, dtype) of a network's state, as `published_entries` has them."""
    names = {torch.float32: "F32", torch.int64: "I64"}
    return {key: (str(list(tensor.shape)), names[tensor.dtype]) for key, tensor in network.state_dict().items()}


def rule_model() -> tuple[V1, dict[str, torch.Tensor]]:
    """A small v1 with weights by rule, and those weights under their official keys."""
    unet = json.loads(golden("v1_unet")[1]["config"])["unet"]
    model = V1(
        V1Config(
            model_channels=unet["model_channels"],
            channel_multipliers=tuple(unet["channel_mult"]),
            res_blocks=unet["num_res_blocks"],
            head_width=unet["num_head_channels"],
            context_width=unet["context_dim"],
            codec="tiny",
            image_encoder="tiny",
        )
    )
    weights = {key: rule_weight(key, tensor.shape) for key, tensor in to_published(model).items()}
    names = published_names(model.state_dict(), model.config)
    model.load_state_dict({name: weights[key] for name, key in names.items()})
    return model.eval(), weights


def assert_golden(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 2e-5) -> None:
    """Equal to `tolerance` of the largest absolute value (the project's limit is 1e-4)."""
    assert found.shape == expected.shape
    assert off(found, expected) <= tolerance


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest absolute value that is expected."""
    return float((found.float() - expected).abs().max() / expected.abs().max())
