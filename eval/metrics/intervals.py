"""Confidence intervals: how far a share or a mean could be off with this many samples."""

from collections.abc import Callable
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray


def wilson(successes: float, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval (lower, upper) of a share in [0, 1]; two-sided at `confidence` (Wilson 1927).

    `successes` may hold halves (ties). Raises ValueError without trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials is no share")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    spread = z * sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    count: int,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile bootstrap interval (lower, upper) of a statistic that takes `count` samples as their indices (count,).

    One draw of indices serves everything that the statistic reads, so a difference between two models on the same
    samples is a paired bootstrap. The same seed gives the same interval. Raises ValueError for no samples.
    """
    if count < 1:
        raise ValueError("a statistic needs samples")
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(count, size=count)) for _ in range(resamples)]
    lower, upper = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(lower), float(upper)


def bootstrap_mean(
    values: ArrayLike, seed: int, confidence: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """`bootstrap` of a mean; of paired differences it is the paired bootstrap of the mean difference.

    Raises ValueError for no values, or for NaN: leave out what was not scored first.
    """
    sample = np.asarray(values, dtype=np.float64).ravel()
    if not sample.size or not np.isfinite(sample).all():
        raise ValueError("a mean needs values, all of them finite")
    return bootstrap(lambda chosen: float(sample[chosen].mean()), sample.size, seed, confidence, resamples)
