"""From noise to latents: a loop over a diffusers scheduler with guidance on reference and sketch.

All randomness is handed in (initial noise, and one generator per sample for the samplers that add noise as they go),
so a seed gives the same picture alone or in a batch.

Shapes: B batch, C latent channels, h w latents, N reference tokens, D context width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteScheduler
from diffusers.schedulers.scheduling_lms_discrete import LMSDiscreteScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

from model.guidance import DUAL_RULES, classifier_free, in_window
from model.noise import BETA_END, BETA_START, TIMESTEPS, PredictionType
from model.v1 import V1, Hints


@dataclass(frozen=True)
class Sampler:
    """A diffusers scheduler with its options; stochastic samplers need a generator per sample."""

    scheduler: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    stochastic: bool = False


_SDE = {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}
SAMPLERS = {
    "dpmpp_2m_karras": Sampler(DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "dpmpp_2m": Sampler(DPMSolverMultistepScheduler),
    "dpmpp_2m_sde_karras": Sampler(DPMSolverMultistepScheduler, _SDE, stochastic=True),
    "ddim": Sampler(DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    "pndm": Sampler(PNDMScheduler, {"skip_prk_steps": True}),
    "lms": Sampler(LMSDiscreteScheduler),
    "euler": Sampler(EulerDiscreteScheduler),
    "euler_a": Sampler(EulerAncestralDiscreteScheduler, stochastic=True),
    "heun": Sampler(HeunDiscreteScheduler),
    "unipc": Sampler(UniPCMultistepScheduler),
}


@dataclass(frozen=True)
class SamplingSettings:
    """How to sample; a guidance scale of 1 switches that guidance off and saves its branch.

    The reference guidance scale and 20 steps are the released interface's defaults. dual_rule says how both guidances
    meet (guidance.DUAL_RULES); outside guidance_window (0 = pure noise, 1 = clean) the reference is left out.
    """

    sampler: str = "dpmpp_2m_karras"
    steps: int = 20
    guidance_scale: float = 4.0
    sketch_guidance_scale: float = 1.0
    dual_rule: str = "mean"
    guidance_window: tuple[float, float] = (0.0, 1.0)
    sketch_strength: float = 1.0
    reference_strength: float = 1.0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(f"there is no sampler {self.sampler!r}; known: {', '.join(SAMPLERS)}")
        if self.dual_rule not in DUAL_RULES:
            raise ValueError(f"there is no dual_rule {self.dual_rule!r}; known: {', '.join(DUAL_RULES)}")
        if not 1 <= self.steps <= TIMESTEPS:
            raise ValueError(f"steps={self.steps} is not within 1..{TIMESTEPS}")


@dataclass(frozen=True, eq=False)
class Conditions:
    """What the UNet is told: context (B, N, D), the sketch's hints, and an empty sketch's for sketch guidance."""

    context: torch.Tensor
    hints: Hints
    empty_hints: Hints | None = None


@dataclass(frozen=True, eq=False)
class Branches:
    """The network's predictions (B, C, h, w) with both conditions, without the reference, without the sketch."""

    conditional: torch.Tensor
    no_reference: torch.Tensor | None
    no_sketch: torch.Tensor | None


def predict_branches(
    model: V1, latents: torch.Tensor, timestep: torch.Tensor, conditions: Conditions, settings: SamplingSettings
) -> Branches:
    """All branches that the settings need, in one batch ordered conditional, no reference, no sketch.

    latents (B, C, h, w) scaled for the network; timestep () or (B,).
    """
    timesteps = timestep.expand(len(latents))
    context, empty = conditions.context, torch.zeros_like(conditions.context)
    if not in_window(float(timesteps[0]), settings.guidance_window):
        context = empty = empty[:, :1]  # one zero token says as much as many
    inputs = {"conditional": (context, conditions.hints)}
    if settings.guidance_scale != 1:
        inputs["no_reference"] = (empty, conditions.hints)
    if settings.sketch_guidance_scale != 1:
        if conditions.empty_hints is None:
            raise ValueError("sketch guidance needs the hints of an empty sketch")
        inputs["no_sketch"] = (context, conditions.empty_hints)

    contexts, hints = zip(*inputs.values(), strict=True)
    predictions = model.denoise(
        latents.repeat(len(inputs), 1, 1, 1),
        timesteps.repeat(len(inputs)),
        [torch.cat(level) for level in zip(*hints, strict=True)],
        torch.cat(contexts),
        reference_strength=settings.reference_strength,
    )
    found = dict(zip(inputs, predictions.chunk(len(inputs)), strict=True))
    return Branches(found["conditional"], found.get("no_reference"), found.get("no_sketch"))


def guided(branches: Branches, settings: SamplingSettings) -> torch.Tensor:
    """One prediction from the branches that ran."""
    c, u_r, u_s = branches.conditional, branches.no_reference, branches.no_sketch
    if u_r is not None and u_s is not None:
        rule = DUAL_RULES[settings.dual_rule]
        return rule(c, u_r, u_s, settings.guidance_scale, settings.sketch_guidance_scale)
    if u_r is not None:
        return classifier_free(c, u_r, settings.guidance_scale)
    if u_s is not None:
        return classifier_free(c, u_s, settings.sketch_guidance_scale)
    return c


def build_scheduler(sampler: str, prediction_type: PredictionType) -> Any:
    """The diffusers scheduler of that sampler on our noise schedule, spaced as the released code does."""
    chosen = SAMPLERS[sampler]
    return chosen.scheduler(
        num_train_timesteps=TIMESTEPS,
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        prediction_type={"eps": "epsilon", "v": "v_prediction"}[prediction_type],
        timestep_spacing="leading",
        steps_offset=1,
        **chosen.options,
    )


@torch.no_grad()
def sample(
    model: V1,
    conditions: Conditions,
    noise: torch.Tensor,
    prediction_type: PredictionType,
    settings: SamplingSettings,
    generators: Sequence[torch.Generator] | None = None,
) -> torch.Tensor:
    """Scaled latents (B, C, h, w) from standard normal noise of that shape.

    generators: one for each sample, needed (and used) only by samplers that add noise; ValueError without them.
    """
    scheduler = build_scheduler(settings.sampler, prediction_type)
    scheduler.set_timesteps(settings.steps, device=noise.device)
    extra: dict[str, Any] = {}
    if SAMPLERS[settings.sampler].stochastic:
        if generators is None or len(generators) != len(noise):
            raise ValueError(f"the sampler {settings.sampler} adds noise and needs one generator per sample")
        extra["generator"] = list(generators)

    latents = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        prediction = guided(predict_branches(model, scaled, timestep, conditions, settings), settings)
        latents = scheduler.step(prediction, timestep, latents, **extra).prev_sample
    return latents
