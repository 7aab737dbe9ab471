"""The random numbers of one training sample: a pure function of (seed, ordinal), never of rank or world size.

So one worker or sixteen, a run that was killed and one that was not, draw the same timestep, noise and drops for the
same sample (DESIGN section 5).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dataprep.randomness import generator


@dataclass(frozen=True)
class Draws:
    """What training draws for a batch of B samples: latents noise (B, C, h, w), token noise (B, N, D), posterior noise
    (B, C, h, w), timesteps (B,) int64, which conditions are kept (B,) in {0, 1}, and a shift (B, C, 1, 1) of each
    channel's noise."""

    timesteps: torch.Tensor
    noise: torch.Tensor
    posterior_noise: torch.Tensor
    token_noise: torch.Tensor
    keep_reference: torch.Tensor
    keep_sketch: torch.Tensor
    shift: torch.Tensor


def draw(
    seed: int,
    ordinals: Sequence[int],
    latent_shape: tuple[int, int, int],
    token_shape: tuple[int, int],
    reference_drop: float,
    sketch_drop: float,
    timesteps: int = 1000,
) -> Draws:
    """The draws of the samples `ordinals`."""
    samples = [_one(seed, ordinal, latent_shape, token_shape, timesteps) for ordinal in ordinals]
    times, noises, posteriors, tokens, chances, shifts = zip(*samples, strict=True)
    chance = np.stack(chances)
    return Draws(
        timesteps=torch.tensor(times, dtype=torch.int64),
        noise=torch.from_numpy(np.stack(noises)),
        posterior_noise=torch.from_numpy(np.stack(posteriors)),
        token_noise=torch.from_numpy(np.stack(tokens)),
        keep_reference=torch.from_numpy((chance[:, 0] >= reference_drop).astype(np.float32)),
        keep_sketch=torch.from_numpy((chance[:, 1] >= sketch_drop).astype(np.float32)),
        shift=torch.from_numpy(np.stack(shifts)),
    )


def _one(
    seed: int, ordinal: int, latent_shape: tuple[int, ...], token_shape: tuple[int, ...], timesteps: int
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = generator(seed, ordinal, "diffusion")
    # Timestep and drops come first, so that they are the same at every picture size.
    timestep, chances = int(rng.integers(timesteps)), rng.random(2)
    return (
        timestep,
        rng.standard_normal(latent_shape, dtype=np.float32),
        rng.standard_normal(latent_shape, dtype=np.float32),
        rng.standard_normal(token_shape, dtype=np.float32),
        chances,
        # Last, so that stages without offset noise draw what they always drew.
        rng.standard_normal((latent_shape[0], 1, 1), dtype=np.float32),
    )
