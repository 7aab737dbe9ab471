"""The loop: randomness is handed in, nothing is read back, and no step pays for what is constant."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from model.backbone.attention import ProjectedContext
from model.diffusion.sampling import Conditions, sample
from model.diffusion.sampling_settings import SAMPLERS, SamplingSettings
from model.diffusion.schedulers import build_scheduler, timesteps_of
from model.families.v1.network import V1
from model.families.v1.sizes import V1Config

BLANK = Conditions(None, (torch.zeros(2, 1, 1, 1),) * 5)
STOCHASTIC = [name for name, sampler in SAMPLERS.items() if sampler.stochastic]


class Denoiser(nn.Module):
    """A network of one line; what it was given is kept."""

    def __init__(self, predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.predict = predict
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def denoise(self, latents: torch.Tensor, timesteps: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        self.seen.append((latents, timesteps))
        return self.predict(latents, timesteps)


def vague() -> Denoiser:
    return Denoiser(lambda latents, _: latents / 2)


def draw(denoiser: nn.Module, seeds: list[int], **settings: object) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = torch.cat([torch.randn(1, 4, 4, 4, generator=generator) for generator in generators])
    told = SamplingSettings(**({"steps": 6} | settings))  # type: ignore[arg-type]
    conditions = Conditions(None, tuple(hint[: len(seeds)] for hint in BLANK.hints))
    return sample(denoiser, conditions, noise, "eps", told, generators)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_repeats_alone_and_in_a_batch(sampler: str) -> None:
    together = draw(vague(), [3, 4], sampler=sampler)
    torch.testing.assert_close(draw(vague(), [4], sampler=sampler), together[1:], rtol=0, atol=1e-5)
    assert not torch.allclose(draw(vague(), [5], sampler=sampler), together[1:], atol=1e-2)


@pytest.mark.parametrize("sampler", STOCHASTIC)
def test_samplers_that_add_noise_refuse_to_go_without_generators(sampler: str) -> None:
    settings = SamplingSettings(sampler=sampler)
    with pytest.raises(ValueError, match=f"{sampler} adds noise and needs one generator per sample"):
        sample(vague(), BLANK, torch.zeros(2, 4, 4, 4), "eps", settings)  # type: ignore[arg-type]


def test_eta_adds_noise_to_ddim() -> None:
    assert not torch.allclose(draw(vague(), [3], sampler="ddim"), draw(vague(), [3], sampler="ddim", eta=0.5))
    settings = SamplingSettings(sampler="ddim", eta=0.5)
    with pytest.raises(ValueError, match="one generator per sample"):
        sample(vague(), BLANK, torch.zeros(2, 4, 4, 4), "eps", settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_network_first_sees_noise_of_unit_spread_and_every_timestep_of_the_scheduler(sampler: str) -> None:
    denoiser = Denoiser(lambda latents, _: latents)
    noise = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    generators = [torch.Generator(), torch.Generator()]
    sample(denoiser, BLANK, noise, "eps", SamplingSettings(sampler=sampler, steps=4), generators)  # type: ignore[arg-type]
    assert denoiser.seen[0][0].std() == pytest.approx(1, abs=0.02)
    expected = timesteps_of(build_scheduler(sampler, "eps"), 4)
    torch.testing.assert_close(
        [t.expand(2).tolist() for _, t in denoiser.seen], [[t, t] for t in torch.tensor(expected).tolist()]
    )


def small() -> V1:
    torch.manual_seed(4)
    config = V1Config(
        model_channels=32,
        head_width=32,
        context_width=12,
        codec="tiny",
        image_encoder="tiny",
        channel_multipliers=(1, 1),
        res_blocks=1,
        stem_widths=(8,) * 7,
    )
    model = V1(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model.eval()


DUAL = SamplingSettings(steps=4, sketch_guidance_scale=2.0, no_guidance_window=(0.4, 0.6))


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in STOCHASTIC])
def test_no_step_reads_anything_back_from_the_device(sampler: str) -> None:
    """Tensors of the meta device have no values, so reading one fails, as it would stall a GPU."""
    model = vague()
    hints = (torch.zeros(2, 1, 1, 1, device="meta"),) * 5
    settings = SamplingSettings(sampler=sampler, steps=5, sketch_guidance_scale=2.0)
    noise = torch.zeros(2, 4, 8, 8, device="meta")
    assert sample(model, Conditions(None, hints, hints), noise, "v", settings).is_meta  # type: ignore[arg-type]


def test_keys_and_values_of_the_reference_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = small(), []
    project = V1.project

    def counted(self: V1, context: torch.Tensor) -> ProjectedContext:
        calls.append(len(context))
        return project(self, context)

    monkeypatch.setattr(V1, "project", counted)
    hints = model.encode_sketch(torch.ones(2, 3, 64, 64))
    sample(model, Conditions(torch.randn(2, 5, 12), hints, hints), torch.randn(2, 4, 8, 8), "eps", DUAL)
    assert calls == [2]


def test_rows_of_a_step_are_the_branches_that_differ() -> None:
    """Where the reference does not act, its branch is the conditional one and does not run."""
    model, rows = small(), []
    model.unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    hints = model.encode_sketch(torch.ones(2, 3, 64, 64))
    settings = SamplingSettings(steps=5, sampler="ddim", sketch_guidance_scale=2.0, no_guidance_window=(0.3, 0.5))
    sample(model, Conditions(torch.randn(2, 5, 12), hints, hints), torch.randn(2, 4, 8, 8), "eps", settings)
    assert rows == [6, 4, 6, 6, 6]  # timesteps 801, 601, 401, 201, 1
