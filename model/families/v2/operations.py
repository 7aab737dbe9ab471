"""Floating-point operations of one training image of v2: v1's, and those of the parts that its network has."""

from typing import Any

import torch

from model.families.family import Operations
from model.families.v1.operations import count as count_v1
from model.families.v2.modes import parts_of
from model.families.v2.network import V2, Told
from model.families.v2.sizes import V2Config


def count(config: V2Config, side: int) -> Operations:
    """Of one square image of `side` pixels: the network forward, codec and image encoder forward, which see a reference
    for each encoder beside the picture, and its background beside the reference."""
    encoders, split = config.background + config.style, "split" in parts_of(config)
    found = count_v1(config, side, V2, _forward, references=1 + split)
    # The codec's are what is left of the frozen ones without the image encoder's.
    one, two = (count_v1(config, side, V2, _nothing, references=count).frozen for count in (1, 2))
    return Operations(trained=found.trained, frozen=found.frozen + encoders * (2 * one - two))


def _forward(network: Any, latents: torch.Tensor, picture: torch.Tensor, tokens: torch.Tensor) -> None:
    config: V2Config = network.config
    told = Told(torch.ones(1))
    if "split" in parts_of(config):
        told = told._replace(background=tokens, mask=latents[:, :1], threshold=torch.empty(1))
    if config.background or config.style:
        told = told._replace(ratios=torch.ones(1, 2))
    if config.background:
        told = told._replace(background_latents=latents)
    if config.style:
        told = told._replace(style_latents=latents)
    if config.split_encoders:
        told = told._replace(reference_mask=latents[:, :1], reference_threshold=torch.empty(1))
    network(latents, torch.zeros(1, dtype=torch.long), picture, tokens, told)


def _nothing(network: Any, latents: torch.Tensor, picture: torch.Tensor, tokens: torch.Tensor) -> None:
    """Of the frozen networks alone."""
