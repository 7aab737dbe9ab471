"""Every sampler arrives where a perfect denoiser points, and each of its timesteps names the noise that is there."""

import inspect
import logging
from collections.abc import Iterator
from math import inf, nan
from typing import Any

import diffusers.schedulers
import pytest
import torch

from model.diffusion.noise import TIMESTEPS, NoiseSchedule, PredictionType, alphas_cumprod
from model.diffusion.sampling_settings import (
    RELEASED_SAMPLERS,
    RELEASED_SCHEDULES,
    SAMPLERS,
    SamplingSettings,
    SigmaSchedule,
    Spacing,
)
from model.diffusion.schedulers import build_scheduler, timesteps_of

Way = tuple[str, Spacing | None, SigmaSchedule | None]
WAYS: list[Way] = [
    *((name, spacing, "uniform") for name, sampler in SAMPLERS.items() for spacing in sampler.spacings or (None,)),
    *((name, None, schedule) for name, sampler in SAMPLERS.items() for schedule in sampler.sigma_schedules),
]
SHAPE = (1, 4, 16, 16)
CLEAN = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
# The last noise level of these is not zero but the schedule's smallest, 0.029, which stays in the result.
STOPS_ABOVE_ZERO = ("pndm", "pndm_rk", "deis", "sa_solver", "tcd")


COSTLY = ("dpm2", "dpm2_a")  # to build


@pytest.fixture(autouse=True)
def _nothing_is_said(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """diffusers corrects options that do not go together, with a warning at every picture."""
    diffusers = logging.getLogger("diffusers")  # hands nothing to the root
    diffusers.addHandler(caplog.handler)
    yield
    diffusers.removeHandler(caplog.handler)
    assert not caplog.get_records("call")


def tiered(way: Way) -> Any:
    """Other spacings and schedules of costly samplers are slow."""
    name, spacing, schedule = way
    costly = name in COSTLY and (spacing or schedule) not in ("leading", "karras")
    return pytest.param(way, id=str(way), marks=pytest.mark.slow if costly else ())


def follow(
    way: Way, steps: int, prediction_type: PredictionType = "eps", noise_schedule: NoiseSchedule = "stable-diffusion"
) -> tuple[torch.Tensor, list[float]]:
    """Where a perfect denoiser leads, and the spread of the noise it saw in units of what its timestep names."""
    name, spacing, schedule = way
    scheduler = build_scheduler(name, prediction_type, noise_schedule, spacing=spacing, sigma_schedule=schedule)
    timesteps = timesteps_of(scheduler, steps)
    extra: dict[str, Any] = {"generator": torch.Generator().manual_seed(5)} if SAMPLERS[name].stochastic else {}
    latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3)) * scheduler.init_noise_sigma
    abar = alphas_cumprod(noise_schedule)
    log_sigma = ((1 - abar) / abar).log() / 2
    spreads = []
    for timestep, position in zip(scheduler.timesteps, timesteps, strict=True):
        low = min(int(position), TIMESTEPS - 2)
        sigma = float(torch.lerp(log_sigma[low], log_sigma[low + 1], position - low).exp())
        signal = (sigma**2 + 1) ** -0.5
        noise = (scheduler.scale_model_input(latents, timestep) - signal * CLEAN) / (sigma * signal)
        spreads.append(float(noise.std()))
        prediction = noise if prediction_type == "eps" else signal * noise - sigma * signal * CLEAN
        latents = scheduler.step(prediction, timestep, latents, **extra).prev_sample
    return latents, spreads


def off(latents: torch.Tensor) -> float:
    return float((latents - CLEAN).std())


@pytest.mark.parametrize("way", [tiered(way) for way in WAYS])
def test_a_perfect_denoiser_is_followed_and_each_timestep_names_the_noise_that_is_there(way: Way) -> None:
    latents, spreads = follow(way, 8)
    assert off(latents) < (0.045 if way[0] in STOPS_ABOVE_ZERO else 0.005)
    # Karras and exponential levels are rounded to whole timesteps by some, which is coarse where there is little noise.
    assert min(spreads) > 0.65
    assert max(spreads) < 1.45


@pytest.mark.parametrize(("steps", "prediction_type"), [(5, "v"), pytest.param(15, "eps", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_perfect_denoiser_is_followed_in_few_and_many_steps_whatever_it_predicts(
    name: str, steps: int, prediction_type: PredictionType
) -> None:
    latents, _ = follow((name, None, None), steps, prediction_type)
    assert off(latents) < (0.045 if name in STOPS_ABOVE_ZERO else 0.01)


@pytest.mark.parametrize("name", [tiered((name, None, None)) for name in SAMPLERS])
def test_every_sampler_is_followed_under_zero_terminal_noise_and_begins_at_its_end(name: Way) -> None:
    """Where a sampler stops above zero, the smallest level is 0.09 there."""
    latents, spreads = follow(name, 8, "v", "zero-terminal")
    assert off(latents) < (0.12 if name[0] in STOPS_ABOVE_ZERO else 0.01)
    assert min(spreads) > 0.6
    assert max(spreads) < 1.5
    assert timesteps_of(build_scheduler(name[0], "v", "zero-terminal"), 8)[0] == pytest.approx(TIMESTEPS - 1, abs=1)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        pytest.param(name, schedule, marks=pytest.mark.slow if name in COSTLY and schedule != "uniform" else ())
        for name, sampler in SAMPLERS.items()
        for schedule in (*sampler.sigma_schedules, "uniform")
    ],
)
def test_the_fewest_steps_of_a_sampler_still_give_a_picture(name: str, schedule: SigmaSchedule) -> None:
    spacing = next(iter(SAMPLERS[name].spacings[1:2]), None)  # "leading" needs a few steps to begin at noise
    latents, _ = follow((name, spacing, schedule), SAMPLERS[name].least_steps)
    assert off(latents) < 0.06


def test_levels_that_share_a_timestep_do_not_lose_the_scheduler() -> None:
    """At 50 steps "beta" begins with equal timesteps; a scheduler that searches them runs off its end."""
    timesteps = timesteps_of(build_scheduler("dpmpp_2m", "eps", sigma_schedule="beta"), 50)
    assert timesteps[0] == timesteps[1]
    assert off(follow(("dpmpp_2m", None, "beta"), 50)[0]) < 0.005


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_table_says_what_diffusers_says(name: str) -> None:
    sampler = SAMPLERS[name]
    build = getattr(diffusers.schedulers, sampler.scheduler)
    parameters = inspect.signature(build).parameters
    assert {f"use_{schedule}_sigmas" for schedule in sampler.sigma_schedules} <= set(parameters)
    assert not sampler.spacings or "timestep_spacing" in parameters
    step = inspect.signature(build.step).parameters
    assert not sampler.stochastic or "generator" in step
    assert not sampler.eta or "eta" in step


@pytest.mark.parametrize("name", SAMPLERS)
def test_only_samplers_that_add_noise_are_called_stochastic(name: str) -> None:
    def last(seed: int) -> torch.Tensor:
        scheduler = build_scheduler(name, "eps")
        scheduler.set_timesteps(6)
        takes = "generator" in inspect.signature(scheduler.step).parameters
        extra = {"generator": torch.Generator().manual_seed(seed)} if takes else {}
        latents = torch.ones(1, 1, 2, 2) * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            prediction = scheduler.scale_model_input(latents, timestep) * 0.1
            latents = scheduler.step(prediction, timestep, latents, **extra).prev_sample
        return latents

    assert torch.equal(last(1), last(2)) != SAMPLERS[name].stochastic


def test_a_scheduler_is_its_callers_own() -> None:
    first = build_scheduler("dpmpp_2m", "eps")
    follow(("dpmpp_2m", None, None), 3)
    timesteps_of(first, 2)
    assert len(build_scheduler("dpmpp_2m", "eps").timesteps) == TIMESTEPS
    assert len(first.timesteps) == 2


def test_the_default_is_dpm_solver_pp_2m_with_karras_levels() -> None:
    config = build_scheduler(SamplingSettings().sampler, "v").config
    expected = {
        "algorithm_type": "dpmsolver++",
        "solver_order": 2,
        "use_karras_sigmas": True,
        "timestep_spacing": "leading",
        "steps_offset": 1,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "prediction_type": "v_prediction",
    }
    assert {key: config[key] for key in expected} == expected


def test_a_schedule_that_is_asked_for_takes_the_place_of_the_samplers_own() -> None:
    config = build_scheduler("dpmpp_2m_karras", "eps", spacing="trailing", sigma_schedule="uniform").config
    assert config["timestep_spacing"] == "trailing"
    assert not config["use_karras_sigmas"]
    assert build_scheduler("heun", "eps", sigma_schedule="exponential").config["use_exponential_sigmas"]


def refusal(**settings: Any) -> str:
    """What is said against these settings, "" where they are taken."""
    try:
        SamplingSettings(**settings)
    except ValueError as error:
        return str(error)
    return ""


def levels(name: str, spacing: Spacing | None, schedule: SigmaSchedule) -> tuple[tuple[float, ...], ...]:
    """Timesteps and noise levels of 20 steps."""
    scheduler = build_scheduler(name, "eps", spacing=spacing, sigma_schedule=schedule)
    timesteps = timesteps_of(scheduler, 20)
    return tuple(timesteps), tuple(float(sigma) for sigma in getattr(scheduler, "sigmas", ()))


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        pytest.param(name, schedule, marks=pytest.mark.slow if name in COSTLY else ())
        for name, sampler in SAMPLERS.items()
        for schedule in (*sampler.sigma_schedules, "uniform")
        if sampler.spacings
    ],
)
def test_a_spacing_is_taken_where_it_changes_the_levels_and_refused_where_it_does_not(
    name: str, schedule: SigmaSchedule
) -> None:
    spacings = SAMPLERS[name].spacings
    found = {levels(name, spacing, schedule) for spacing in spacings}
    said = {refusal(sampler=name, spacing=spacing, sigma_schedule=schedule) for spacing in spacings}
    if said == {""}:
        assert len(found) == len(spacings)
    else:
        assert said == {f"{name} has no spacing under {schedule} noise levels; give sigma_schedule=uniform"}
        assert found == {levels(name, None, schedule)}


def test_names_of_the_released_interface_mean_our_samplers() -> None:
    for label, (name, schedule) in RELEASED_SAMPLERS.items():
        settings = SamplingSettings(sampler=label)
        assert (settings.sampler, settings.sigma_schedule) == (name, schedule)
        assert SamplingSettings(sampler=label, sigma_schedule="uniform").sigma_schedule == "uniform"
    assert len(RELEASED_SAMPLERS) == 17
    with pytest.raises(ValueError, match=r"'DPM adaptive'; it chooses its own number of steps.*dpmpp_3s"):
        SamplingSettings(sampler="DPM adaptive")
    for spacing, levels_of in RELEASED_SCHEDULES.values():
        for label in RELEASED_SAMPLERS if levels_of is None else ("DPM++ 2M", "LMS", "Heun"):
            SamplingSettings(sampler=label, spacing=spacing, sigma_schedule=levels_of)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sampler": "dpm"}, "no sampler 'dpm'; known: dpmpp_2m_karras"),
        ({"sampler": "ddim", "spacing": "linspace"}, "ddim has no spacing 'linspace'; it has: leading, trailing"),
        ({"sampler": "lcm", "spacing": "leading"}, "lcm has no spacing 'leading'; it has: only its own"),
        ({"spacing": "trailing"}, "dpmpp_2m_karras has no spacing under karras noise levels; give sigma_schedule=uni"),
        ({"sampler": "euler_a", "sigma_schedule": "karras"}, "euler_a has no sigma_schedule 'karras'; it has: uniform"),
        ({"sampler": "euler", "eta": 0.5}, "euler takes no eta; these do: ddim"),
        ({"sampler": "pndm_rk", "steps": 3}, "steps=3 is not within 4..500 of pndm_rk"),
        ({"steps": 0}, "steps=0 is not within 1..500"),
        ({"steps": 20.5}, "steps=20.5 is not a whole number"),
        ({"steps": True}, "steps=True is not a whole number"),
        *(
            ({name: value}, f"{name}={value:g} is not a finite number of at least 0")
            for name in ("guidance_scale", "sketch_guidance_scale")
            for value in (-0.1, inf, nan)
        ),
        *(
            ({name: value}, rf"{name}={value:g} is not within 0\.\.3")
            for name in ("sketch_strength", "reference_strength")
            for value in (-1, 3.1, inf, nan)
        ),
        ({"attention_scales": (1.0,) * 15 + (nan,)}, r"attention scale of up0.attn2=nan is not within 0\.\.3"),
        ({"attention_scales": (-1.0,) + (1.0,) * 15}, r"attention scale of down0.attn0=-1 is not within 0\.\.3"),
        ({"reference_padding": nan}, r"reference_padding=nan is not within 1\.\.2"),
        ({"guidance_window": (nan, 1.0)}, "guidance_window=nan,1 is not a window"),
        ({"dual_rule": "max"}, "no dual_rule 'max'; known: mean, sum"),
        ({"guidance_window": (0.5, 0.2)}, "guidance_window=0.5,0.2 is not a window"),
        ({"no_guidance_window": (-0.1, 0.2)}, "no_guidance_window=-0.1,0.2 is not a window"),
    ],
)
def test_settings_that_do_not_exist_are_refused_with_those_that_do(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingSettings(**wrong)


def test_what_the_released_sliders_end_at_and_more_is_taken() -> None:
    SamplingSettings(guidance_scale=15, sketch_guidance_scale=5, sketch_strength=3, reference_strength=1)
    SamplingSettings(guidance_scale=40, sketch_guidance_scale=0, reference_strength=3, attention_scales=(0.0, 3.0) * 8)
