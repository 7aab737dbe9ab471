"""The Fréchet distance against closed forms, torch-fidelity's formula and the merge property."""

import numpy as np
import pytest
import scipy.linalg

from eval.errors import EvalError
from eval.metrics.sets.frechet import BothSets, Frechet, FrechetStatistics
from eval.metrics.sets.vector_file import VectorFile


def statistics(features: np.ndarray) -> FrechetStatistics:
    result = FrechetStatistics(features.shape[1])
    result.update(features)
    return result


def features(seed: int, count: int = 200, dims: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dims)) @ rng.normal(size=(dims, dims)) + rng.normal(size=dims)


def test_equal_covariances_leave_the_squared_distance_of_the_means() -> None:
    first = features(0)
    shift = np.arange(12.0)
    assert statistics(first).distance(statistics(first + shift)) == pytest.approx((shift**2).sum(), rel=1e-9)


def test_one_dimension_is_the_closed_form_of_two_normals() -> None:
    first, second = features(1, dims=1), features(2, dims=1)
    expected = (first.mean() - second.mean()) ** 2 + (first.std(ddof=1) - second.std(ddof=1)) ** 2
    assert statistics(first).distance(statistics(second)) == pytest.approx(expected, rel=1e-9)


def test_mean_and_covariance_are_numpys() -> None:
    first = features(3)
    np.testing.assert_allclose(statistics(first).mean(), first.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics(first).covariance(), np.cov(first, rowvar=False), rtol=1e-10)


def test_distance_agrees_with_the_matrix_square_root_of_the_published_code() -> None:
    first, second = features(4), features(5)
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    means = first.mean(axis=0) - second.mean(axis=0)
    expected = means @ means + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert statistics(first).distance(statistics(second)) == pytest.approx(expected, rel=1e-6)


def test_distance_agrees_with_torch_fidelity() -> None:
    fid = pytest.importorskip("torch_fidelity.metric_fid", reason="torch-fidelity is not installed")
    first, second = features(6), features(7)
    theirs = fid.fid_statistics_to_metric(
        *({"mu": f.mean(axis=0), "sigma": np.cov(f, rowvar=False)} for f in (first, second)), verbose=False
    )["frechet_inception_distance"]
    assert statistics(first).distance(statistics(second)) == pytest.approx(theirs, rel=1e-6)


def test_distance_is_symmetric_and_zero_to_itself() -> None:
    first, second = statistics(features(8)), statistics(features(9))
    assert first.distance(second) == pytest.approx(second.distance(first), rel=1e-9)
    assert first.distance(first) == pytest.approx(0, abs=1e-6)


def test_shares_merge_to_the_whole_in_any_order() -> None:
    first, second = features(10), statistics(features(11))
    a, b, c = (statistics(part) for part in np.split(first, [30, 110]))
    whole = statistics(first).distance(second)
    assert a.merge(b).merge(c).distance(second) == pytest.approx(whole, rel=1e-10)
    assert c.merge(a.merge(b)).distance(second) == pytest.approx(whole, rel=1e-10)
    assert a.count == 30  # merging leaves its parts alone


def test_too_few_samples_are_refused_with_the_reason() -> None:
    enough, few = statistics(features(12, count=13)), statistics(features(13, count=12))
    enough.distance(enough)
    with pytest.raises(EvalError, match="12 samples; 13 are needed"):
        enough.distance(few)


def test_bounds_are_those_of_the_bootstrap_over_results() -> None:
    made, real = features(14, count=400, dims=6), statistics(features(15, count=500, dims=6))
    file = VectorFile()
    file.append(made)
    distance = Frechet(statistics(made), real)
    low, high = distance.bounds(file)
    assert low < distance.value < high
    drawn = np.random.default_rng(0).integers(400, size=(300, 400))
    resampled = [Frechet(statistics(made[rows]), real).value for rows in drawn]
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(resampled), rel=0.12)


def test_bounds_hold_where_features_have_no_spread_in_some_directions() -> None:
    made = np.c_[features(16, count=60, dims=3), np.ones(60), np.zeros(60)]
    file = VectorFile()
    file.append(made)
    distance = Frechet(statistics(made), statistics(features(17, count=60, dims=5)))
    low, high = distance.bounds(file)
    assert 0 <= low < distance.value < high < 3 * distance.value


def test_known_statistics_take_the_place_of_the_real_vectors_to_the_last_digit() -> None:
    made, real = features(18).astype(np.float32), features(19).astype(np.float32)
    measured, known = BothSets("n"), BothSets("n")
    for part in (slice(0, 64), slice(64, 200)):
        measured.add({"result@n": made[part], "original@n": real[part]})
    assert measured.real is not None
    known.take_real(measured.real)
    for part in (slice(0, 64), slice(64, 200)):
        known.add({"result@n": made[part]})
    distances = []
    for sets in (measured, known):
        assert sets.made is not None
        assert sets.real is not None
        distances.append(Frechet(sets.made, sets.real).value)
    assert distances[0] == distances[1]


def test_features_of_another_length_or_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        FrechetStatistics(3).update(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="NaN"):
        FrechetStatistics(3).update(np.full((2, 3), np.nan))
