"""Every sampler arrives where a perfect denoiser points, and randomness comes only from what is handed in."""

import pytest
import torch
from torch import nn

from model.noise import alphas_cumprod
from model.sampling import Conditions, sample
from model.settings import SAMPLERS, SamplingSettings

# diffusers' schedulers hand tensors to numpy in a way that numpy 2 warns about
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HINTS = (torch.zeros(2, 1, 1, 1),) * 5
CONDITIONS = Conditions(torch.zeros(2, 1, 8), HINTS)


class PerfectDenoiser(nn.Module):
    """Knows the clean latents and says exactly the noise (or v) that is in its input."""

    def __init__(self, clean: torch.Tensor, prediction_type: str) -> None:
        super().__init__()
        self.clean, self.prediction_type = clean, prediction_type

    def denoise(self, latents: torch.Tensor, timesteps: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        position = timesteps.double()
        low = position.floor().long().clamp(0, 998)
        share = (position - low).float()
        abar = alphas_cumprod()
        sigma = ((1 - abar) / abar).sqrt().float()
        sigma = (sigma[low] + share * (sigma[low + 1] - sigma[low])).view(-1, 1, 1, 1)
        signal = (sigma**2 + 1).rsqrt()
        noise = (latents - signal * self.clean) / (sigma * signal)
        return noise if self.prediction_type == "eps" else signal * noise - sigma * signal * self.clean


def draw(sampler: str, denoiser: nn.Module, prediction_type: str = "eps", seed: int = 3) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(seed + index) for index in range(2)]
    noise = torch.cat([torch.randn(1, 4, 4, 4, generator=generator) for generator in generators])
    settings = SamplingSettings(sampler=sampler, steps=12, guidance_scale=1.0)
    return sample(denoiser, CONDITIONS, noise, prediction_type, settings, generators)  # type: ignore[arg-type]


@pytest.mark.parametrize("prediction_type", ["eps", "v"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_perfect_denoiser_is_followed_to_the_clean_latents(sampler: str, prediction_type: str) -> None:
    clean = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(9))
    result = draw(sampler, PerfectDenoiser(clean, prediction_type), prediction_type)
    assert (result - clean).abs().max() < 0.15


@pytest.mark.parametrize("sampler", ["euler_a", "dpmpp_2m_sde_karras"])
def test_samplers_that_add_noise_repeat_with_the_seed_and_refuse_to_go_without(sampler: str) -> None:
    class Vague(nn.Module):
        def denoise(self, latents: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
            return latents / 2

    assert torch.equal(draw(sampler, Vague()), draw(sampler, Vague()))
    assert not torch.allclose(draw(sampler, Vague()), draw(sampler, Vague(), seed=4))
    with pytest.raises(ValueError, match="one generator per sample"):
        sample(Vague(), CONDITIONS, torch.zeros(2, 4, 4, 4), "eps", SamplingSettings(sampler=sampler))  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_network_first_sees_noise_of_unit_spread(sampler: str) -> None:
    seen: list[float] = []

    class Watcher(nn.Module):
        def denoise(self, latents: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
            seen.append(float(latents.std()))
            return latents

    settings = SamplingSettings(sampler=sampler, steps=4, guidance_scale=1.0)
    noise = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    sample(Watcher(), CONDITIONS, noise, "eps", settings, [torch.Generator()] * 2)  # type: ignore[arg-type]
    assert seen[0] == pytest.approx(1, abs=0.02)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="no sampler 'dpm'; known: dpmpp_2m_karras"):
        SamplingSettings(sampler="dpm")
    with pytest.raises(ValueError, match="no dual_rule 'max'; known: mean, sum"):
        SamplingSettings(dual_rule="max")
    with pytest.raises(ValueError, match="steps=0"):
        SamplingSettings(steps=0)
