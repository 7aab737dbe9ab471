"""From noise to latents: a loop over a diffusers scheduler with guidance on reference and sketch.

All randomness is handed in (initial noise, and one generator per sample for the samplers that add noise as they go),
so a seed gives the same picture alone or in a batch.

Shapes: B batch, C latent channels, h w latents, N reference tokens, D context width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import diffusers.schedulers
import torch

from model.attention import AttentionControls
from model.guidance import DUAL_RULES, classifier_free, in_window
from model.noise import BETA_END, BETA_START, TIMESTEPS, PredictionType
from model.settings import SAMPLERS, SamplingSettings
from model.v1 import V1, Hints


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
        attention=AttentionControls(settings.reference_strength, settings.attention_scales),
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
    return getattr(diffusers.schedulers, chosen.scheduler)(
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
