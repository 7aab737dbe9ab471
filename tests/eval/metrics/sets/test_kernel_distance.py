"""KID and CMMD against torch-fidelity and against their definitions written out."""

import numpy as np
import pytest
import torch

from eval.metrics.sets.kernel_distance import (
    BLOCK,
    CMMD,
    KID,
    Blocks,
    UnitVectors,
    gaussian_discrepancy,
    kernel_inception_distance,
)
from eval.metrics.sets.vector_file import VectorFile


def sets(count: int, dims: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    made, real = rng.normal(size=(2, count, dims)).astype(np.float32)
    return made + 0.3, real


def test_kid_agrees_with_torch_fidelity() -> None:
    kid = pytest.importorskip("torch_fidelity.metric_kid", reason="torch-fidelity is not installed")
    made, real = sets(200)
    theirs = kid.kid_features_to_metric(
        *(torch.from_numpy(features).double() for features in (made, real)),
        **{"kid_subsets": 1, "kid_subset_size": 200, "verbose": False},
    )["kernel_inception_distance_mean"]
    ours, _ = kernel_inception_distance(made.astype(float), real.astype(float))
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_kid_is_the_mean_over_blocks_and_the_last_holds_the_rest() -> None:
    made, real = sets(2 * BLOCK + 300, dims=4)
    whole = Blocks("n")
    for start in range(0, len(made), 64):
        whole.add({"result@n": made[start : start + 64], "original@n": real[start : start + 64]})
    pairs, blocks = whole.whole()
    halves = [slice(0, BLOCK), slice(BLOCK, len(made))]
    by_hand = [kernel_inception_distance(made[half].astype(float), real[half].astype(float))[0] for half in halves]
    assert pairs == len(made)
    assert [value for value, _ in blocks] == pytest.approx(by_hand, rel=1e-9)
    (score,) = KID.summarize((pairs, blocks))
    assert score.value == pytest.approx(np.mean(by_hand))
    assert score.interval is not None
    assert score.interval[0] < np.mean(by_hand) < score.interval[1]


def test_cmmd_is_its_definition_over_all_pairs() -> None:
    made, real = sets(70)
    held = UnitVectors("n")
    held.add({"result@n": made[:33], "original@n": real[:33]})
    held.add({"result@n": made[33:], "original@n": real[33:]})
    x, y = (features / np.linalg.norm(features, axis=1, keepdims=True) for features in (made, real))

    def mean_kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([np.exp(-((one - other) ** 2).sum() / 200) for one in a for other in b]))

    expected = 1000 * (mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y))
    (score,) = CMMD.summarize(held)
    assert score.value == pytest.approx(expected, rel=1e-4)


def test_spreads_are_those_of_the_bootstrap_over_results() -> None:
    made, real = (features.astype(float) for features in sets(300, dims=6))
    drawn = np.random.default_rng(1).integers(300, size=(200, 300))
    _, variance = kernel_inception_distance(made, real)
    resampled = [kernel_inception_distance(made[rows], real)[0] for rows in drawn]
    assert np.sqrt(variance) == pytest.approx(np.std(resampled), rel=0.15)

    def discrepancy(vectors: np.ndarray) -> tuple[float, float]:
        files = VectorFile(), VectorFile()
        for file, rows in zip(files, (vectors, real), strict=True):
            file.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        return gaussian_discrepancy(*files)

    _, variance = discrepancy(made)
    assert np.sqrt(variance) == pytest.approx(np.std([discrepancy(made[rows])[0] for rows in drawn]), rel=0.15)


def test_one_picture_has_no_distance() -> None:
    blocks, vectors = Blocks("n"), UnitVectors("n")
    for collector in (blocks, vectors):
        collector.add({"result@n": np.ones((1, 4)), "original@n": np.ones((1, 4))})
    for metric, whole in ((KID, blocks.whole()), (CMMD, vectors.whole())):
        (score,) = metric.summarize(whole)
        assert score.value is None
        assert "two pictures" in score.reason


def test_vectors_come_back_in_their_order_and_as_often_as_wanted() -> None:
    file, rows = VectorFile(), np.arange(40, dtype=np.float32).reshape(10, 4)
    file.append(rows[:3])
    file.append(rows[3:])
    for size in (4, 100):
        np.testing.assert_array_equal(np.concatenate(list(file.chunks(size))), rows)
    file.append(rows)
    assert len(file) == 20
    np.testing.assert_array_equal(np.concatenate(list(file.chunks(7))), np.r_[rows, rows])
    with pytest.raises(ValueError, match="vectors of 3 numbers beside others of 4"):
        file.append(rows[:, :3])
