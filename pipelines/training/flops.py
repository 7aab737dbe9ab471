"""Floating-point operations of a training image, and the peak of the device that does them.

Model operations: the trained network forward and twice as much backward, the frozen ones forward; nothing that is
computed twice to save memory counts twice. Matrix products and convolutions are counted, two operations each multiply.
What one image costs is counted by its family on the meta device (model.families.family.Family.operations).
"""

from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import torch

from model.families.family import Operations
from model.families.registry import family
from pipelines.common.devices import PEAKS

BACKWARD = 2  # a gradient by the input and one by the weights
COUNTED_SIDES = (128, 256, 512)  # of the squares that are counted, in pixels; multiples of every halving


@dataclass(frozen=True)
class ImageFlops:
    """Of one training image: the `trained` network forward and backward, the `frozen` ones around it."""

    trained: float
    frozen: float

    @property
    def total(self) -> float:
        """Of everything."""
        return self.trained + self.frozen


def count_flops(family_name: str, config: Any, width: int, height: int) -> ImageFlops:
    """Of one training image of that size in pixels.

    Convolutions take the picture's area, self-attention its square, so three sizes that are counted, once for each
    network, tell all others: exactly where both sides are multiples of 64 pixels, as nearly as rounding allows else.
    """
    counted = [side**2 for side in COUNTED_SIDES]
    weights = [
        prod((width * height - other) / (own - other) for other in counted if other != own) for own in counted
    ]  # Lagrange's
    flops = list(zip(weights, _counted(family_name, config), strict=True))
    return ImageFlops(
        sum(w * (1 + BACKWARD) * found.trained for w, found in flops), sum(w * found.frozen for w, found in flops)
    )


@cache
def _counted(family_name: str, config: Any) -> list[Operations]:
    """Of one training image of each of COUNTED_SIDES."""
    return [family(family_name).operations(config, side) for side in COUNTED_SIDES]


def peak_flops(device: torch.device) -> float | None:
    """The device's dense bf16 operations a second, where its maker's figure is known."""
    if device.type != "cuda":
        return None
    tera = PEAKS.get(torch.cuda.get_device_name(device))
    return None if tera is None else tera * 1e12
