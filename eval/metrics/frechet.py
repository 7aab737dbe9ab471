"""Fréchet distance between two sets of feature vectors (thesis 3.3.2, eqs. 3.1 and 3.2; Heusel et al. 2017).

A set is kept as its count, sum and sum of outer products in float64. Adding two sets is adding three numbers, so the
workers' shares merge into what one worker would have had, in any order, up to float64 rounding (about 1e-12). An
evaluation adds its parts in their order, whichever worker had them, so that no digit depends on the workers.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from eval.errors import EvalError
from eval.metrics.features import EFFICIENTNET_LITE0, feature_network
from eval.metrics.metric import Columns, Metric, Score

Array = NDArray[np.float64]


class FrechetStatistics:
    """Sums over the features of one set of pictures; `dims` is the length of a feature vector."""

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.count = 0
        self.sum: Array = np.zeros(dims)
        self.outer: Array = np.zeros((dims, dims))

    @property
    def needed(self) -> int:
        """Samples below which the covariance cannot have full rank: dims + 1."""
        return self.dims + 1

    def update(self, features: ArrayLike) -> None:
        """Add a batch (N, dims), in place. Raises ValueError for another shape or a value that is not finite."""
        batch = np.asarray(features, dtype=np.float64)
        if batch.ndim != 2 or batch.shape[1] != self.dims:
            raise ValueError(f"features must be (N, {self.dims}), not {batch.shape}")
        if not np.isfinite(batch).all():
            raise ValueError("features hold NaN or infinity")
        self.count += len(batch)
        self.sum += batch.sum(axis=0)
        self.outer += batch.T @ batch

    def merge(self, other: "FrechetStatistics") -> "FrechetStatistics":
        """The statistics of both sets together, as a new object."""
        if other.dims != self.dims:
            raise ValueError(f"features of {self.dims} and {other.dims} dimensions cannot be merged")
        merged = FrechetStatistics(self.dims)
        merged.count = self.count + other.count
        merged.sum = self.sum + other.sum
        merged.outer = self.outer + other.outer
        return merged

    def mean(self) -> Array:
        """μ of (3.1), shape (dims,)."""
        return self.sum / self.count

    def covariance(self) -> Array:
        """Σ of (3.1) with the divisor N - 1, shape (dims, dims)."""
        return (self.outer - np.outer(self.sum, self.sum) / self.count) / (self.count - 1)

    def distance(self, other: "FrechetStatistics") -> float:
        """Fréchet distance (3.2). Raises EvalError, with the reason, where either set has too few samples."""
        if other.dims != self.dims:
            raise ValueError(f"features of {self.dims} and {other.dims} dimensions cannot be compared")
        fewest = min(self.count, other.count)
        if fewest < self.needed:
            raise EvalError(f"{fewest} samples; {self.needed} are needed ({self.dims} feature dimensions + 1)")
        return frechet_distance(self.mean(), self.covariance(), other.mean(), other.covariance())


def frechet_distance(mean_1: Array, covariance_1: Array, mean_2: Array, covariance_2: Array) -> float:
    """||μ1 - μ2||² + Tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½), thesis (3.2)."""
    difference = mean_1 - mean_2
    trace = np.trace(covariance_1) + np.trace(covariance_2) - 2 * _trace_of_root(covariance_1, covariance_2)
    return float(difference @ difference + trace)


def _trace_of_root(covariance_1: Array, covariance_2: Array) -> float:
    """Tr (Σ1 Σ2)^½ from eigenvalues: Σ1 Σ2 and the symmetric Σ1^½ Σ2 Σ1^½ share theirs, which are never negative."""
    values, vectors = np.linalg.eigh(covariance_1)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return float(np.sqrt(np.linalg.eigvalsh(root @ covariance_2 @ root).clip(min=0)).sum())


def _measure(result: Tensor, original: Tensor) -> dict[str, Tensor]:
    network = feature_network(EFFICIENTNET_LITE0)
    return {"features": network(result).double(), "real_features": network(original).double()}


class BothSets:
    """The statistics of results and originals; adding the parts in one order gives the same sums to the last digit."""

    def __init__(self) -> None:
        self._sets: tuple[FrechetStatistics, FrechetStatistics] | None = None

    def add(self, columns: Columns) -> None:
        """Features of some pairs, (n, dims) of each."""
        made, real = columns["features"], columns["real_features"]
        if self._sets is None:
            self._sets = FrechetStatistics(made.shape[1]), FrechetStatistics(real.shape[1])
        for statistics, features in zip(self._sets, (made, real), strict=True):
            statistics.update(features)

    def whole(self) -> tuple[FrechetStatistics, FrechetStatistics]:
        """Of results and of originals."""
        return self._sets or (FrechetStatistics(0), FrechetStatistics(0))


def _summarize(sets: tuple[FrechetStatistics, FrechetStatistics]) -> list[Score]:
    """The distance between all results and all originals, or the reason where they are too few."""
    made, real = sets
    try:
        return [Score(FRECHET_DISTANCE.scores, made.distance(real), made.count)]
    except EvalError as error:
        return [Score(FRECHET_DISTANCE.scores, None, made.count, reason=str(error))]


FRECHET_DISTANCE = Metric(
    name=f"fid_{EFFICIENTNET_LITE0}",
    title="FID to real pictures",
    needs=("original",),
    measure=_measure,
    summarize=_summarize,
    collector=BothSets,
    scores=f"fid_{EFFICIENTNET_LITE0}",
    better="lower",
    meaning="distance between the results and real pictures as a network sees them; lower is closer",
    features=EFFICIENTNET_LITE0,
    source="thesis 3.3.2, eqs. 3.1 and 3.2; Heusel et al. 2017, with another feature network",
)
