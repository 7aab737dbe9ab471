"""Distances between two sets by kernels, which suppose no normal distribution: KID and CMMD.

KID (Bińkowski et al. 2018) is unbiased and so may be had of fewer pictures than FID: the squared maximum mean
discrepancy with the kernel (x·y / dims + 1)³ of Inception's features, averaged over blocks of 1,000 pairs in the order
of the pairing, which is random, since ids are hashes. CMMD (Jayasumana et al. 2024) takes all pairs at once: 1,000
times the discrepancy of CLIP's unit vectors with a Gaussian kernel of width 10, biased as it was published.

Bounds, as those of eval.metrics.sets.frechet, come from what each result adds to first order, the real pictures given.
"""

from functools import partial
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from eval.metrics.metric import Columns, Metric, Score, too_few
from eval.metrics.sets.vector_file import VectorFile
from eval.metrics.views import of_both

Array = NDArray[np.float64]

BLOCK = 1000  # pairs of a block of KID
SIGMA, SCALE = 10.0, 1000.0  # of CMMD
_Z = NormalDist().inv_cdf(0.975)


def kernel_inception_distance(made: Array, real: Array) -> tuple[float, float]:
    """(squared discrepancy without bias, its variance) of features (n, dims) of equally many made and real pictures."""
    count, dims = made.shape

    def kernel(one: Array, other: Array) -> Array:
        return np.asarray((one @ other.T / dims + 1) ** 3)

    within, across, among_real = kernel(made, made), kernel(made, real), kernel(real, real)
    own = (within.sum(axis=1) - within.diagonal()) / (count - 1)  # of each made picture to the others
    theirs = (among_real.sum() - among_real.trace()) / (count * (count - 1))
    value = own.mean() + theirs - 2 * across.mean()
    influences = 2 * (own - across.mean(axis=1))
    return float(value), float(influences.var(ddof=1) / count)


class Blocks:
    """Features of results and originals, made into a value for each block of BLOCK pairs or more."""

    def __init__(self, network: str) -> None:
        self.views = of_both(network)
        self.pairs = 0
        self._held: list[tuple[Array, Array]] = []
        self._found: list[tuple[float, float]] = []

    def add(self, columns: Columns) -> None:
        """Features of some pairs, (n, dims) of each."""
        made, real = (np.asarray(columns[view], np.float64) for view in self.views)
        self._held.append((made, real))
        self.pairs += len(made)
        if sum(len(held) for held, _ in self._held) >= 2 * BLOCK:  # what is left is a block by itself at the end
            made, real = self._taken()
            self._found.append(kernel_inception_distance(made[:BLOCK], real[:BLOCK]))
            self._held = [(made[BLOCK:], real[BLOCK:])]

    def whole(self) -> tuple[int, list[tuple[float, float]]]:
        """How many pairs there are, and (value, variance) of each block."""
        made, real = self._taken() if self._held else (np.zeros((0, 1)), np.zeros((0, 1)))
        last = [kernel_inception_distance(made, real)] if len(made) > 1 else []
        return self.pairs, self._found + last

    def _taken(self) -> tuple[Array, Array]:
        return np.concatenate([made for made, _ in self._held]), np.concatenate([real for _, real in self._held])


def _mean_of_blocks(whole: tuple[int, list[tuple[float, float]]], name: str) -> list[Score]:
    pairs, blocks = whole
    if not blocks:
        return too_few(name, pairs)
    value = float(np.mean([value for value, _ in blocks]))
    reach = _Z * float(np.sqrt(sum(variance for _, variance in blocks))) / len(blocks)
    return [Score(name, value, pairs, (value - reach, value + reach))]


class UnitVectors:
    """Features of results and originals, normalised to length one."""

    def __init__(self, network: str) -> None:
        self.views = of_both(network)
        self.made, self.real = VectorFile(), VectorFile()

    def add(self, columns: Columns) -> None:
        """Features of some pairs, (n, dims) of each."""
        for vectors, view in zip((self.made, self.real), self.views, strict=True):
            features = np.asarray(columns[view], np.float64)
            vectors.append(features / np.linalg.norm(features, axis=1, keepdims=True))

    def whole(self) -> "UnitVectors":
        """Itself."""
        return self


def gaussian_discrepancy(made: VectorFile, real: VectorFile) -> tuple[float, float]:
    """(SCALE times the squared discrepancy, its variance) of unit vectors, with all pairs of each set."""

    def means(of: VectorFile, others: VectorFile) -> Array:
        """Of each vector the mean of the kernel with the others."""
        rows = []
        for one in of.chunks():
            sums = np.zeros(len(one))
            for other in others.chunks():
                squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
                sums += np.exp(-squares / (2 * SIGMA**2)).sum(axis=1)
            rows.append(sums / len(others))
        return np.concatenate(rows)

    own, across = means(made, made), means(made, real)
    value = SCALE * (own.mean() + means(real, real).mean() - 2 * across.mean())
    influences = 2 * SCALE * (own - across)
    return float(value), float(influences.var(ddof=1) / len(made))


def _of_unit_vectors(sets: UnitVectors, name: str) -> list[Score]:
    if len(sets.made) < 2:
        return too_few(name, len(sets.made))
    value, variance = gaussian_discrepancy(sets.made, sets.real)
    reach = _Z * float(np.sqrt(variance))
    return [Score(name, value, len(sets.made), (max(0.0, value - reach), value + reach))]


KID = Metric(
    name="kid",
    title="KID",
    vectors=of_both("inception_2048"),
    collector=partial(Blocks, "inception_2048"),
    summarize=partial(_mean_of_blocks, name="kid"),
    fewest=BLOCK,
    scores="kid",
    better="lower",
    meaning="distance between the results and real pictures without FID's bias towards large sets; lower is closer",
    source="Bińkowski et al. 2018, Demystifying MMD GANs; resizing as in pytorch-fid",
)
CMMD = Metric(
    name="cmmd",
    title="CMMD",
    vectors=of_both("clip_vitl14_336"),
    collector=partial(UnitVectors, "clip_vitl14_336"),
    summarize=partial(_of_unit_vectors, name="cmmd"),
    fewest=2,
    scores="cmmd",
    better="lower",
    meaning="distance between the results and real pictures as CLIP sees them; lower is closer",
    source="Jayasumana et al. 2024, Rethinking FID",
)
