"""diffusers' schedulers by the names of `sampling_settings.SAMPLERS`, on a `model.diffusion.noise.NoiseSchedule`.

A scheduler is offered when a perfect denoiser is followed to its clean latents and every timestep names the noise that
is in the latents. Left out, of diffusers 0.42: DPMSolverSDE (needs torchsde, unmaintained since 2023; "dpmpp_2s_sde" is
the nearest), IPNDM, EDM*, CosineDPMSolver, Consistency*, CMStochasticIterative, SCM, ScoreSde*, KarrasVe and the
FlowMatch* and FlowMap* ones (other noise schedules or parameterisations than eps and v of this one), UnCLIP (its own
schedule), CogVideoX* (DDIM under another default; DPM of two past predictions), *Parallel (the same samplers, for
pipelines that guess ahead), *Inverse (towards noise), RePaint (fills holes), and those of token models.
"""

import copy
from functools import lru_cache
from typing import Any

import diffusers.schedulers

from model.diffusion.noise import BETA_END, BETA_START, TIMESTEPS, NoiseSchedule, PredictionType, betas
from model.diffusion.sampling_settings import SAMPLERS, SigmaSchedule, Spacing

_PREDICTION_TYPES = {"eps": "epsilon", "v": "v_prediction"}


def build_scheduler(
    sampler: str,
    prediction_type: PredictionType,
    noise_schedule: NoiseSchedule = "stable-diffusion",
    *,
    spacing: Spacing | None = None,
    sigma_schedule: SigmaSchedule | None = None,
) -> Any:
    """The scheduler of that sampler; spacing and sigma_schedule are the sampler's own where None.

    "leading" spacing is offset by one step, as in the released code. Under "zero-terminal" the sampler's own is
    "trailing", for every other begins below pure noise. What does not exist, `SamplingSettings` refuses.
    """
    return copy.deepcopy(_built(sampler, prediction_type, noise_schedule, spacing, sigma_schedule))


@lru_cache(maxsize=32)  # some look up a thousand timesteps as they are built, which takes as long as a small picture
def _built(
    sampler: str,
    prediction_type: PredictionType,
    noise_schedule: NoiseSchedule,
    spacing: Spacing | None,
    sigma_schedule: SigmaSchedule | None,
) -> Any:
    chosen = SAMPLERS[sampler]
    options: dict[str, Any] = {"num_train_timesteps": TIMESTEPS, **chosen.options}
    if noise_schedule == "stable-diffusion":
        options |= {"beta_start": BETA_START, "beta_end": BETA_END, "beta_schedule": "scaled_linear"}
    else:
        options |= {"trained_betas": betas(noise_schedule).numpy()}
    if chosen.spacings:
        own = chosen.spacings[0] if noise_schedule == "stable-diffusion" else "trailing"
        options |= {"timestep_spacing": spacing or own, "steps_offset": 1}
    sigma_schedule = sigma_schedule or chosen.sigma_schedule
    if sigma_schedule != "uniform":
        options[f"use_{sigma_schedule}_sigmas"] = True
    build = getattr(diffusers.schedulers, chosen.scheduler)
    return build(prediction_type=_PREDICTION_TYPES[prediction_type], **options)


def timesteps_of(scheduler: Any, steps: int) -> list[float]:
    """Sets the scheduler to that many steps and gives the timestep of every evaluation, more than steps for some.

    The scheduler stays on the host, where it needs no look at the device's latents to know where it is.
    """
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):  # else it searches the timestep, and is lost where two are equal
        scheduler.set_begin_index(0)
    return [float(timestep) for timestep in scheduler.timesteps]
