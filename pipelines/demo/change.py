"""How far a stage has moved the weights that it began with."""

from math import sqrt

import torch

from model.checkpoint import load_checkpoint
from pipelines.weights.checkpoints import fetch_checkpoint


def change_of(before: str, after: str) -> str:
    """The norm of the change between two checkpoints of one network, and its share of the norm before, in words."""
    moved, norm = _norms(before, after)
    return f"{moved:.3g}, which is {moved / norm:.2%} of their norm of {norm:.4g}"


@torch.no_grad()
def _norms(before: str, after: str) -> tuple[float, float]:
    """The norms of (after - before) and of before, over all weights. Raises ValueError for other networks."""
    old, new = (load_checkpoint(fetch_checkpoint(address))[0].state_dict() for address in (before, after))
    if old.keys() != new.keys():
        raise ValueError("two networks of different weights have no difference")
    moved = sum(float((new[name].double() - tensor.double()).square().sum()) for name, tensor in old.items())
    return sqrt(moved), sqrt(sum(float(tensor.double().square().sum()) for tensor in old.values()))
