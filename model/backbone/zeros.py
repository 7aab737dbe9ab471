"""Layers that start at zero, so that what they belong to says nothing before it is trained."""

from torch import nn


def zero(module: nn.Module) -> None:
    """All parameters 0."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
