"""The random numbers of training: the same for a sample wherever it is drawn, and distributed as the papers say."""

import numpy as np
import pytest
import torch
from scipy import stats

from pipelines.training.draws import Draws, draw

LATENT, TOKENS = (2, 3, 5), (4, 6)
NAMES = ("timesteps", "noise", "posterior_noise", "token_noise", "keep_reference", "keep_sketch", "shift")


def drawn(ordinals: list[int], seed: int = 7, reference_drop: float = 0.1, sketch_drop: float = 0.3) -> Draws:
    return draw(seed, ordinals, LATENT, TOKENS, reference_drop, sketch_drop)


def test_shapes_and_types_are_those_that_are_told() -> None:
    batch = drawn([3, 4, 9])
    assert batch.timesteps.shape == (3,)
    assert batch.timesteps.dtype == torch.int64
    assert batch.noise.shape == batch.posterior_noise.shape == (3, *LATENT)
    assert batch.token_noise.shape == (3, *TOKENS)
    assert batch.keep_reference.shape == batch.keep_sketch.shape == (3,)
    assert batch.shift.shape == (3, LATENT[0], 1, 1)
    assert batch.noise.dtype == batch.keep_sketch.dtype == torch.float32


def test_a_sample_draws_the_same_alone_in_any_batch_and_in_any_order() -> None:
    together = drawn([11, 5, 999_999_999_999])
    for place, ordinal in enumerate([11, 5, 999_999_999_999]):
        alone = drawn([ordinal])
        for name in NAMES:
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[place]), name


@pytest.mark.parametrize("name", ["noise", "posterior_noise", "token_noise", "shift"])
def test_another_sample_and_another_seed_draw_otherwise(name: str) -> None:
    first, second, other = (getattr(batch, name) for batch in (drawn([1]), drawn([2]), drawn([1], seed=8)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_timesteps_and_drops_do_not_depend_on_the_picture_size() -> None:
    small, large = (draw(0, range(50), shape, TOKENS, 0.5, 0.5) for shape in ((1, 1, 1), (8, 16, 16)))
    assert torch.equal(small.timesteps, large.timesteps)
    assert torch.equal(small.keep_reference, large.keep_reference)
    assert torch.equal(small.keep_sketch, large.keep_sketch)


def test_a_larger_drop_rate_drops_the_same_samples_and_more() -> None:
    few, many = (drawn(list(range(400)), reference_drop=rate).keep_reference for rate in (0.1, 0.5))
    assert bool((many <= few).all())
    assert many.sum() < few.sum()


def test_timesteps_are_uniform_over_all_thousand() -> None:
    timesteps = draw(3, range(20_000), (1, 1, 1), (1, 1), 0, 0).timesteps.numpy()
    assert (timesteps.min(), timesteps.max()) == (0, 999)
    assert stats.chisquare(np.bincount(timesteps // 10, minlength=100)).pvalue > 1e-3


def test_conditions_are_dropped_at_their_rates_and_independently() -> None:
    batch = draw(3, range(20_000), (1, 1, 1), (1, 1), 0.1, 0.3)
    reference, sketch = batch.keep_reference.numpy() == 0, batch.keep_sketch.numpy() == 0
    assert reference.mean() == pytest.approx(0.1, abs=0.01)
    assert sketch.mean() == pytest.approx(0.3, abs=0.015)
    assert (reference & sketch).mean() == pytest.approx(0.03, abs=0.006)


@pytest.mark.parametrize(("rate", "kept"), [(0.0, 1.0), (1.0, 0.0)])
def test_rates_of_zero_and_one_are_exact(rate: float, kept: float) -> None:
    batch = draw(3, range(500), (1, 1, 1), (1, 1), rate, rate)
    assert batch.keep_reference.mean() == batch.keep_sketch.mean() == kept


def test_noises_are_standard_normal_and_independent_of_each_other() -> None:
    batch = draw(3, range(300), (4, 8, 8), (4, 64), 0, 0)
    noises = [getattr(batch, name).flatten().numpy() for name in ("noise", "posterior_noise", "token_noise")]
    for noise in (*noises, batch.shift.flatten().numpy()):
        assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(noises) - np.eye(3)).max() < 0.02


def test_the_shift_is_drawn_last_so_that_runs_without_it_stay_what_they_were() -> None:
    """The first numbers of sample 3 as they were drawn before there was a shift."""
    batch = drawn([3])
    assert (int(batch.timesteps[0]), *(float(getattr(batch, name).flatten()[0]) for name in NAMES[1:4])) == (
        260,
        -1.5158764123916626,
        0.3524915277957916,
        -1.0946528911590576,
    )
