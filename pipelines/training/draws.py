"""The random numbers of one training sample: a pure function of (seed, ordinal), never of rank or world size.

So one worker or sixteen, a run that was killed and one that was not, draw the same timestep, noise and drops for the
same sample (docs/design.md). Which numbers, and in which order, is the stage's to say (model.batch.Draw).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from dataprep.randomness import generator
from model.batch import Draw


def draw(seed: int, ordinals: Sequence[int], draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
    """The draws of the samples `ordinals`, name -> (B, *shape)."""
    samples = [_one(generator(seed, ordinal, "diffusion"), draws) for ordinal in ordinals]
    return {
        asked.name: torch.from_numpy(np.stack(column))
        for asked, column in zip(draws, zip(*samples, strict=True), strict=True)
    }


def stratified(
    drawn: Mapping[str, torch.Tensor], name: str, ranges: Sequence[tuple[int, int]], rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """The same draws of as many samples as there are `ranges`, with the integers `name` of each from [low, high)."""
    within = torch.tensor([int(rng.integers(low, high)) for low, high in ranges], dtype=drawn[name].dtype)
    return {**drawn, name: within}


def _one(rng: np.random.Generator, draws: Sequence[Draw]) -> list[np.ndarray]:
    """In their order: a number that is drawn later moves none that is drawn before."""
    return [np.asarray(_drawn(rng, asked)) for asked in draws]


def _drawn(rng: np.random.Generator, asked: Draw) -> np.ndarray | np.int64 | float:
    if asked.kind == "integers":
        return rng.integers(asked.below, size=asked.shape or None)
    if asked.kind == "uniform":
        return rng.random(asked.shape or None)
    return rng.standard_normal(asked.shape, dtype=np.float32)
