"""Floating-point operations of one training image of v1.5: v1's, with a background beside the reference."""

from typing import Any

import torch

from model.families.family import Operations
from model.families.v1.operations import count as count_v1
from model.families.v15.network import V15
from model.families.v15.sizes import V15Config


def count(config: V15Config, side: int) -> Operations:
    """Of one square image of `side` pixels: the network forward, codec and image encoder (of two pictures) forward."""
    return count_v1(config, side, V15, _forward, references=2)


def _forward(network: Any, latents: torch.Tensor, picture: torch.Tensor, tokens: torch.Tensor) -> None:
    timestep, thresholds, shown = torch.zeros(1, dtype=torch.long), torch.empty(1, 2), torch.ones(1)
    network(latents, timestep, picture, tokens, tokens, thresholds, latents[:, :1], shown)
