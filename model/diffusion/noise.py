"""The noise schedule and what training does with it: noised latents, noised references, targets and losses.

Every random number (timestep, noise, drop decision) is handed in as a tensor: nothing here draws one.
ColorizeDiffusion section 3.3, thesis section 5.4.

Symbols: T = 1000 timesteps, abar_t = cumulative product of 1 - beta, SNR = abar / (1 - abar). Shapes: B batch;
timesteps (B,).
"""

from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F

PredictionType = Literal["eps", "v"]

NoiseSchedule = Literal["stable-diffusion", "zero-terminal"]
"""How the noise grows with the timestep.

"stable-diffusion": "scaled linear" betas, which all released systems use. At its end a fifteenth of the noise's spread
is still the picture's, and of a flat area of many latents the mean shows through: a network learns to read it there,
and reads a random one when a sampler starts from pure noise (Lin et al., "Common Diffusion Noise Schedules and Sample
Steps are Flawed", 2024, section 3.1). "zero-terminal": that schedule stretched until next to nothing is left (their
Algorithm 1), then with its SNR divided by SHIFT squared, so that half of the timesteps, not a fifth, decide about large
areas (Hoogeboom et al., "Simple diffusion", 2023, section 3.1); for networks that predict v.
"""

TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012
SHIFT = 3.0
LAST_SIGNAL = 1e-3  # sqrt(abar) at the last timestep before the shift: not zero, which samplers could not divide by


@lru_cache(maxsize=8)
def alphas_cumprod(schedule: NoiseSchedule = "stable-diffusion", device: torch.device | None = None) -> torch.Tensor:
    """abar_t for t = 0..999, float64 (T,)."""
    abar = torch.cumprod(1 - _scaled_linear_betas(), dim=0)
    if schedule == "zero-terminal":
        signal = abar.sqrt()
        signal = LAST_SIGNAL + (signal - signal[-1]) * (signal[0] - LAST_SIGNAL) / (signal[0] - signal[-1])
        abar = signal**2 / (signal**2 + SHIFT**2 * (1 - signal**2))
    return abar.to(device)


def betas(schedule: NoiseSchedule = "stable-diffusion") -> torch.Tensor:
    """beta_t = 1 - abar_t / abar_(t-1) for t = 0..999, float64 (T,)."""
    if schedule == "stable-diffusion":  # as they are defined, to the last bit
        return _scaled_linear_betas()
    abar = alphas_cumprod(schedule)
    return 1 - abar / torch.cat([torch.ones(1, dtype=abar.dtype), abar[:-1]])


def _scaled_linear_betas() -> torch.Tensor:
    return torch.linspace(BETA_START**0.5, BETA_END**0.5, TIMESTEPS, dtype=torch.float64, device="cpu") ** 2


def scales(
    timesteps: torch.Tensor, like: torch.Tensor, schedule: NoiseSchedule = "stable-diffusion"
) -> tuple[torch.Tensor, torch.Tensor]:
    """(sqrt(abar_t), sqrt(1 - abar_t)) of timesteps (B,), shaped to multiply `like` (B, ...)."""
    abar = alphas_cumprod(schedule, like.device)[timesteps].view(-1, *[1] * (like.ndim - 1))
    return abar.sqrt().to(like.dtype), (1 - abar).sqrt().to(like.dtype)


def add_noise(
    clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, schedule: NoiseSchedule = "stable-diffusion"
) -> torch.Tensor:
    """x_t = sqrt(abar_t) x + sqrt(1 - abar_t) noise (Ho et al., "Denoising Diffusion Probabilistic Models", Eq. 4)."""
    signal, sigma = scales(timesteps, clean, schedule)
    return signal * clean + sigma * noise


def offset_noise(noise: torch.Tensor, shift: torch.Tensor, strength: float) -> torch.Tensor:
    """Noise (B, C, h, w) with each channel shifted by strength x shift (B, C, 1, 1), a standard normal number.

    So that a network learns to change the mean colour of a picture, which white noise hardly touches (N. Guttenberg,
    "Diffusion with offset noise", 2023; the released training configurations: 0.05).
    """
    return noise + strength * shift


def noisy_reference(
    tokens: torch.Tensor,
    timesteps: torch.Tensor,
    noise: torch.Tensor,
    flip_above: float | None = None,
    schedule: NoiseSchedule = "stable-diffusion",
) -> torch.Tensor:
    """Reference tokens (B, N, D) noised with the sample's own timestep (paper Eq. 1, thesis Eq. 5.2).

    flip_above=0.9 is what the released code does instead: from 0.9 T on it takes T - t - 1, so that the noisiest
    latents see an almost clean reference.
    """
    if flip_above is not None:
        timesteps = torch.where(timesteps >= flip_above * TIMESTEPS, TIMESTEPS - timesteps - 1, timesteps)
    return add_noise(tokens, noise, timesteps, schedule)


def drop(condition: torch.Tensor, keep: torch.Tensor, empty: float = 0.0) -> torch.Tensor:
    """The condition (B, ...) where keep (B,) is set, else `empty`: 0 for reference tokens, -1 for sketches.

    Reference tokens are dropped after they are noised, so that "no reference" is exactly zero.
    """
    return torch.where(keep.bool().view(-1, *[1] * (condition.ndim - 1)), condition, empty)


def prediction_target(
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    prediction_type: PredictionType,
    schedule: NoiseSchedule = "stable-diffusion",
) -> torch.Tensor:
    """What the network predicts: the noise (eps; thesis Eqs. 5.2, 5.3), or v = sqrt(abar_t) noise - sqrt(1 - abar_t) x.

    v: Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022, appendix D.
    """
    if prediction_type == "eps":
        return noise
    if prediction_type == "v":
        signal, sigma = scales(timesteps, latents, schedule)
        return signal * noise - sigma * latents
    raise ValueError(f"prediction_type is {prediction_type!r}, not one of eps, v")


def loss_per_sample(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each sample, (B,), in float32: the norm within thesis Eqs. 5.2 and 5.3."""
    return F.mse_loss(prediction.float(), target.float(), reduction="none").flatten(1).mean(1)


def min_snr_weights(
    timesteps: torch.Tensor,
    gamma: float,
    prediction_type: PredictionType,
    schedule: NoiseSchedule = "stable-diffusion",
) -> torch.Tensor:
    """The weight (B,), float32, of each sample's loss: min(SNR, gamma) / SNR for eps, / (SNR + 1) for v.

    Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 3.4: the loss is that of the picture
    itself with weight min(SNR, gamma), said in terms of what is predicted.
    """
    abar = alphas_cumprod(schedule, timesteps.device)[timesteps]
    snr = abar / (1 - abar)
    return (snr.clamp(max=gamma) / (snr + (prediction_type == "v"))).float()
