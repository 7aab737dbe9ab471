"""Golden numbers of the released ColorizeDiffusion v1 code, and the rule that makes the weights they were made with.

The files are copies of the oracle's (sketches keep one of their three equal channels). A weight is a function of its
official key and shape only, so agreement also proves the names.
"""

import json
import zlib
from pathlib import Path

import torch
from safetensors import safe_open

from model.config import V1Config
from model.published_keys import from_published, to_published
from model.v1 import V1

ASSETS = Path(__file__).parents[1] / "assets"
CONV_GAIN = 1.4


def golden(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """(tensors, metadata) of one file; a sketch comes back with three channels."""
    with safe_open(ASSETS / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = file.metadata()
    if "sketch" in tensors:
        tensors["sketch"] = tensors["sketch"].expand(-1, 3, -1, -1).contiguous()
    return tensors, metadata


def rule_weight(key: str, shape: torch.Size) -> torch.Tensor:
    normal = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if normal.ndim == 1:
        return 1 + 0.1 * normal if key.endswith(".weight") else 0.1 * normal
    gain = CONV_GAIN if normal.ndim == 4 and shape[-1] > 1 else 1.0
    return normal * gain / (normal.numel() / shape[0]) ** 0.5


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
    from_published(weights, model)
    return model.eval(), weights


def assert_golden(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal to 2e-5 of the largest absolute value (the project's limit is 1e-4)."""
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 2e-5 * float(expected.abs().max())
