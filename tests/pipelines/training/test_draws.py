"""The random numbers of training: the same for a sample wherever it is drawn, and distributed as the papers say."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy import stats

from model.batch import Draw
from pipelines.training.draws import draw, stratified

LATENT, TOKENS = (2, 3, 5), (4, 6)


def asked(latent: tuple[int, int, int] = LATENT, tokens: tuple[int, int] = TOKENS) -> tuple[Draw, ...]:
    """What v1 asks for, with latents and tokens of a shape of one's own."""
    return (
        Draw("timesteps", "integers", below=1000),
        Draw("chances", "uniform", (2,)),
        Draw("noise", "normal", latent),
        Draw("posterior_noise", "normal", latent),
        Draw("token_noise", "normal", tokens),
        Draw("shift", "normal", (latent[0], 1, 1)),
    )


NAMES = tuple(one.name for one in asked())


def drawn(ordinals: Sequence[int], seed: int = 7) -> dict[str, torch.Tensor]:
    return draw(seed, ordinals, asked())


def test_shapes_and_types_are_those_that_are_asked_for() -> None:
    batch = drawn([3, 4, 9])
    assert tuple(batch) == NAMES
    assert batch["timesteps"].shape == (3,)
    assert batch["timesteps"].dtype == torch.int64
    assert batch["noise"].shape == batch["posterior_noise"].shape == (3, *LATENT)
    assert batch["token_noise"].shape == (3, *TOKENS)
    assert batch["chances"].shape == (3, 2)
    assert batch["chances"].dtype == torch.float64
    assert batch["shift"].shape == (3, LATENT[0], 1, 1)
    assert {batch[name].dtype for name in NAMES[2:]} == {torch.float32}
    many = draw(7, [1, 2], [Draw("places", "integers", (3, 2), below=5)])["places"]
    assert (many.shape, many.dtype, int(many.max()) < 5) == ((2, 3, 2), torch.int64, True)


def test_a_sample_draws_the_same_alone_in_any_batch_and_in_any_order() -> None:
    together = drawn([11, 5, 999_999_999_999])
    for place, ordinal in enumerate([11, 5, 999_999_999_999]):
        alone = drawn([ordinal])
        for name in NAMES:
            assert torch.equal(alone[name][0], together[name][place]), name


@pytest.mark.parametrize("name", NAMES)
def test_another_sample_and_another_seed_draw_otherwise(name: str) -> None:
    first, second, other = (batch[name] for batch in (drawn([1]), drawn([2]), drawn([1], seed=8)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_timesteps_and_drops_do_not_depend_on_the_picture_size() -> None:
    small, large = (draw(0, range(50), asked(shape)) for shape in ((1, 1, 1), (8, 16, 16)))
    assert torch.equal(small["timesteps"], large["timesteps"])
    assert torch.equal(small["chances"], large["chances"])


def test_timesteps_are_uniform_over_all_thousand() -> None:
    timesteps = draw(3, range(20_000), asked((1, 1, 1), (1, 1)))["timesteps"].numpy()
    assert (timesteps.min(), timesteps.max()) == (0, 999)
    assert stats.chisquare(np.bincount(timesteps // 10, minlength=100)).pvalue > 1e-3


def test_chances_are_uniform_and_independent_so_that_conditions_are_dropped_at_their_rates() -> None:
    chances = draw(3, range(20_000), asked((1, 1, 1), (1, 1)))["chances"].numpy()
    assert 0 <= chances.min() <= chances.max() < 1
    assert all(stats.kstest(column, "uniform").pvalue > 1e-3 for column in chances.T)
    reference, sketch = chances[:, 0] < 0.1, chances[:, 1] < 0.3
    assert reference.mean() == pytest.approx(0.1, abs=0.01)
    assert sketch.mean() == pytest.approx(0.3, abs=0.015)
    assert (reference & sketch).mean() == pytest.approx(0.03, abs=0.006)


def test_noises_are_standard_normal_and_independent_of_each_other() -> None:
    batch = draw(3, range(300), asked((4, 8, 8), (4, 64)))
    noises = [batch[name].flatten().numpy() for name in ("noise", "posterior_noise", "token_noise")]
    for noise in (*noises, batch["shift"].flatten().numpy()):
        assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(noises) - np.eye(3)).max() < 0.02


def test_what_is_asked_for_last_moves_nothing_that_is_drawn_before() -> None:
    whole, less = drawn([3, 4]), draw(7, [3, 4], asked()[:3])
    assert tuple(less) == NAMES[:3]
    assert all(torch.equal(tensor, whole[name]) for name, tensor in less.items())


def test_the_shift_is_drawn_last_so_that_runs_without_it_stay_what_they_were() -> None:
    """The first numbers of sample 3 as they were drawn before there was a shift."""
    batch = drawn([3])
    first = (float(batch[name].flatten()[0]) for name in ("noise", "posterior_noise", "token_noise"))
    assert (int(batch["timesteps"][0]), *first) == (
        260,
        -1.5158764123916626,
        0.3524915277957916,
        -1.0946528911590576,
    )


def test_strata_take_one_sample_of_each_range_and_leave_other_numbers_alone() -> None:
    ranges, before = ((0, 3), (3, 4), (990, 1000)), drawn([1, 2, 3])
    after = stratified(before, "timesteps", ranges, np.random.default_rng(0))
    assert all(low <= int(t) < high for t, (low, high) in zip(after["timesteps"], ranges, strict=True))
    assert (after["timesteps"].dtype, after["timesteps"].shape) == (torch.int64, (3,))
    assert all(torch.equal(after[name], before[name]) for name in NAMES[1:])
