"""The noise schedule and the noisy reference against the released numbers and against their definition."""

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from model.diffusion.noise import (
    SHIFT,
    TIMESTEPS,
    add_noise,
    alphas_cumprod,
    betas,
    drop,
    loss_per_sample,
    min_snr_weights,
    noisy_reference,
    offset_noise,
    prediction_target,
)
from tests.model.golden import golden


def test_schedule_is_the_released_one() -> None:
    expected, _ = golden("v1_schedule")
    abar = alphas_cumprod()
    assert torch.equal(betas().float(), expected["betas"])
    assert torch.equal(abar.float(), expected["alphas_cumprod"])
    assert torch.equal(abar.sqrt().float(), expected["sqrt_alphas_cumprod"])
    assert torch.equal((1 - abar).sqrt().float(), expected["sqrt_one_minus_alphas_cumprod"])


def test_zero_terminal_is_the_usual_schedule_stretched_to_its_end_and_shifted() -> None:
    """Lin et al. 2024, Algorithm 1: the root of abar is moved and stretched; then the SNR is divided."""
    usual, found = alphas_cumprod().sqrt(), alphas_cumprod("zero-terminal")
    shifted_back = (SHIFT**2 * found / (1 - found + SHIFT**2 * found)).sqrt()
    stretched = (usual - usual[-1]) * usual[0] / (usual[0] - usual[-1])
    torch.testing.assert_close(shifted_back, stretched, rtol=0, atol=1.1e-3)
    assert shifted_back[0] == pytest.approx(float(usual[0]))
    assert (found.diff() < 0).all()
    torch.testing.assert_close(torch.cumprod(1 - betas("zero-terminal"), 0), found)


def test_of_a_flat_picture_only_the_usual_schedule_leaves_something_to_read_in_the_last_noise() -> None:
    """The mean of 24 x 24 latents of value 2, in units of the spread that the noise's own mean has."""
    told = {}
    for schedule in ("stable-diffusion", "zero-terminal"):
        abar = alphas_cumprod(schedule)[-1]
        told[schedule] = float(2 * abar.sqrt() / ((1 - abar).sqrt() / 24))
    assert told["stable-diffusion"] > 3
    assert told["zero-terminal"] < 0.02


def test_under_zero_terminal_noise_v_at_the_end_is_the_picture() -> None:
    latents, noise, last = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3), torch.tensor([TIMESTEPS - 1] * 2)
    torch.testing.assert_close(add_noise(latents, noise, last, "zero-terminal"), noise, rtol=0, atol=2e-3)
    torch.testing.assert_close(
        prediction_target(latents, noise, last, "v", "zero-terminal"), -latents, rtol=0, atol=2e-3
    )


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


@pytest.mark.parametrize("flip_above", [None, 0.9])
def test_noisy_references_have_the_mean_and_variance_that_the_schedule_says_at_every_timestep(
    flip_above: float | None,
) -> None:
    """tau_t = sqrt(abar_t) tau + sqrt(1 - abar_t) noise, over 8,192 draws at each t; flipped: those of T - 1 - t."""
    draws, every = 8_192, torch.arange(TIMESTEPS)
    noise = torch.randn(TIMESTEPS, 1, draws, generator=torch.Generator().manual_seed(0))
    token = 2.0
    noised = noisy_reference(torch.full_like(noise, token), every, noise, flip_above)[:, 0]
    abar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS).double() ** 2, 0)
    if flip_above:
        abar = torch.where(every >= 900, abar.flip(0), abar)
    # Five standard errors of a mean and of a variance: of 2,000 such numbers none is beyond by chance.
    mean_error = (noised.double().mean(1) - abar.sqrt() * token).abs() / ((1 - abar) / draws).sqrt()
    variance_error = (noised.double().var(1) / (1 - abar) - 1).abs() / (2 / draws) ** 0.5
    assert mean_error.max() < 5
    assert variance_error.max() < 5


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


def test_offset_noise_shifts_each_channel_as_a_whole() -> None:
    noise, shift = torch.randn(2, 3, 4, 5), torch.tensor([[1.0, -2.0, 0.0], [4.0, 0.5, 8.0]]).view(2, 3, 1, 1)
    shifted = offset_noise(noise, shift, 0.05)
    by_hand = torch.tensor([[0.05, -0.1, 0.0], [0.2, 0.025, 0.4]]).view(2, 3, 1, 1).expand(2, 3, 4, 5)
    torch.testing.assert_close(shifted - noise, by_hand, rtol=0, atol=1e-6)


def test_min_snr_weights_by_hand() -> None:
    """SNR = abar / (1 - abar), 5 at most: eps min(SNR, 5) / SNR, v min(SNR, 5) / (SNR + 1)."""
    timesteps = torch.tensor([0, 300, 600, 999])
    abar = [float(alphas_cumprod()[t]) for t in timesteps]
    snr = [a / (1 - a) for a in abar]
    assert snr[0] > 1000
    assert snr[3] < 0.01
    eps, v = min_snr_weights(timesteps, 5.0, "eps"), min_snr_weights(timesteps, 5.0, "v")
    assert eps.tolist() == pytest.approx([min(s, 5.0) / s for s in snr], rel=1e-6)
    assert v.tolist() == pytest.approx([min(s, 5.0) / (s + 1) for s in snr], rel=1e-6)
    assert eps[2:].tolist() == [1.0, 1.0]


def test_min_snr_weights_mean_the_same_for_eps_and_v() -> None:
    """One network, said in eps or in v: its weighted loss is min(SNR, gamma) times that of the picture itself."""
    latents, noise = torch.randn(4, 2, 3, 3).double(), torch.randn(4, 2, 3, 3).double()
    timesteps, gamma = torch.tensor([1, 250, 500, 750]), 5.0
    noised, guess = add_noise(latents, noise, timesteps), latents + 0.1 * torch.randn(4, 2, 3, 3).double()
    abar = alphas_cumprod()[timesteps].view(4, 1, 1, 1)
    signal, sigma = abar.sqrt(), (1 - abar).sqrt()
    guessed_noise = (noised - signal * guess) / sigma
    of_eps = min_snr_weights(timesteps, gamma, "eps") * (guessed_noise - noise).square().flatten(1).mean(1)
    guessed_v = signal * guessed_noise - sigma * guess
    v = prediction_target(latents, noise, timesteps, "v")
    of_v = min_snr_weights(timesteps, gamma, "v") * (guessed_v - v).square().flatten(1).mean(1)
    snr = (signal / sigma).flatten().square()
    of_picture = snr.clamp(max=gamma) * (guess - latents).square().flatten(1).mean(1)
    torch.testing.assert_close(of_eps, of_picture, rtol=1e-5, atol=0)
    torch.testing.assert_close(of_v, of_picture, rtol=1e-5, atol=0)
