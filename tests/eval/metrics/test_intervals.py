"""Intervals against published numbers and their own promises."""

import numpy as np
import pytest
from scipy.stats import binomtest
from scipy.stats import bootstrap as scipys_bootstrap

from eval.metrics.intervals import bootstrap, bootstrap_mean, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (5, 10), (131, 200), (200, 200)])
def test_wilson_agrees_with_scipy(successes: int, trials: int) -> None:
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_wilson_refuses_what_is_no_share() -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="no share"):
        wilson(3, 2)


def test_bootstrap_of_a_normal_sample_is_near_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = bootstrap_mean(values, seed=1)
    error = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.03)


def test_bootstrap_repeats_with_its_seed_and_refuses_missing_values() -> None:
    assert bootstrap_mean([1, 2, 3], seed=5) == bootstrap_mean([1, 2, 3], seed=5)
    assert bootstrap_mean([4.0], seed=0) == (4.0, 4.0)
    for bad in ([], [1.0, np.nan]):
        with pytest.raises(ValueError, match="finite"):
            bootstrap_mean(bad, seed=0)


def test_a_paired_bootstrap_agrees_with_scipy() -> None:
    rng = np.random.default_rng(2)
    first = rng.normal(10, 2, 300)
    second = first + rng.normal(0.5, 1, 300)  # what the pairs share is no uncertainty of the difference

    def difference(chosen: np.ndarray) -> float:
        return float(np.median(second[chosen]) - np.median(first[chosen]))

    peer = scipys_bootstrap(
        (first, second),
        lambda a, b, axis: np.median(b, axis=axis) - np.median(a, axis=axis),
        paired=True,
        method="percentile",
        n_resamples=4000,
        rng=3,
    ).confidence_interval
    ours = bootstrap(difference, 300, seed=1, resamples=4000)
    assert ours == pytest.approx((peer.low, peer.high), abs=0.03)
    unpaired = bootstrap_mean(second, seed=1)[1] - bootstrap_mean(second, seed=1)[0]
    assert ours[1] - ours[0] < unpaired


def test_a_bootstrap_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="samples"):
        bootstrap(lambda chosen: 0.0, 0, seed=0)
