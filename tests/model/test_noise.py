"""The noise schedule and the noisy reference against the released numbers and against their definition."""

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from model.noise import (
    TIMESTEPS,
    add_noise,
    alphas_cumprod,
    betas,
    drop,
    loss_per_sample,
    noisy_reference,
    prediction_target,
    sigmas,
    timestep_of_sigma,
)
from tests.model.golden import golden


def test_schedule_is_the_released_one() -> None:
    expected, _ = golden("v1_schedule")
    abar = alphas_cumprod()
    assert torch.equal(betas().float(), expected["betas"])
    assert torch.equal(abar.float(), expected["alphas_cumprod"])
    assert torch.equal(abar.sqrt().float(), expected["sqrt_alphas_cumprod"])
    assert torch.equal((1 - abar).sqrt().float(), expected["sqrt_one_minus_alphas_cumprod"])


def test_released_noisy_reference_is_the_named_option() -> None:
    t, _ = golden("v1_noisy_reference")
    noised = noisy_reference(t["tokens"], t["t"], t["noise"], flip_above=0.9)
    torch.testing.assert_close(noised, t["noised"], rtol=0, atol=1e-6)
    torch.testing.assert_close(drop(noised, t["keep"]), t["noised_then_dropped"], rtol=0, atol=1e-6)


def test_the_paper_noises_the_reference_with_the_samples_own_timestep() -> None:
    timesteps = torch.tensor([0, 500, 899, 900, 999])
    tokens = torch.randn(5, 64, 128) * 3
    noised = noisy_reference(tokens, timesteps, torch.randn(tokens.shape))
    signal = (noised * tokens).sum((1, 2)) / tokens.square().sum((1, 2))
    spread = (noised - signal.view(-1, 1, 1) * tokens).std((1, 2))
    abar = alphas_cumprod()[timesteps].float()
    torch.testing.assert_close(signal, abar.sqrt(), rtol=0, atol=0.02)
    torch.testing.assert_close(spread, (1 - abar).sqrt(), rtol=0, atol=0.03)
    assert signal[-1] < 0.1 < 0.9 < signal[0]


def test_dropped_conditions_are_exactly_empty() -> None:
    condition, keep = torch.randn(3, 4, 5) * 1e30, torch.tensor([1.0, 0.0, 1.0])
    dropped = drop(condition, keep)
    assert torch.equal(dropped[1], torch.zeros(4, 5))
    assert torch.equal(dropped[[0, 2]], condition[[0, 2]])
    assert torch.equal(drop(condition, keep, empty=-1.0)[1], torch.full((4, 5), -1.0))


def test_noised_latents_and_v_agree_with_diffusers() -> None:
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    latents, noise, timesteps = torch.randn(4, 4, 3, 2), torch.randn(4, 4, 3, 2), torch.tensor([0, 1, 500, 999])
    ours, theirs = add_noise(latents, noise, timesteps), scheduler.add_noise(latents, noise, timesteps)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    velocity = scheduler.get_velocity(latents, noise, timesteps)
    torch.testing.assert_close(prediction_target(latents, noise, timesteps, "v"), velocity, rtol=0, atol=1e-5)
    assert prediction_target(latents, noise, timesteps, "eps") is noise


def test_an_unknown_prediction_type_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of eps, v"):
        prediction_target(torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.long), "x0")  # type: ignore[arg-type]


def test_loss_is_the_mean_square_of_each_sample() -> None:
    prediction, target = torch.zeros(2, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]], [[[0.0, 2.0]]]])
    assert loss_per_sample(prediction, target).tolist() == [5.0, 2.0]


def test_timestep_of_sigma_inverts_the_table_and_is_held_at_both_ends() -> None:
    every = torch.arange(TIMESTEPS)
    torch.testing.assert_close(timestep_of_sigma(sigmas()).float(), every.float(), rtol=0, atol=1e-3)
    assert timestep_of_sigma(torch.tensor([1e-6, 1e6])).tolist() == [0.0, 999.0]
