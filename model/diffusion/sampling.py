"""From noise to latents: a loop over a diffusers scheduler with guidance on reference and sketch.

What stays the same over the steps is prepared before them: the reference's keys and values, the hints of all branches,
the timesteps, the noise of an injection. Which branches run is decided from numbers of the host, and rows without a
reference skip cross-attention. All randomness is handed in (initial noise, and one generator per sample for what adds
noise as it goes), so a seed gives the same picture alone or in a batch.

Shapes: B batch, C latent channels, h w latents, N reference tokens, D context width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from model.backbone.attention import AttentionControls, ProjectedContext, SelfAttentionBank
from model.backbone.decoder_features import NO_FEATURES, DecoderFeatures
from model.backbone.split_attention import SplitReference
from model.diffusion.denoiser import Denoiser, Hints
from model.diffusion.guidance import DUAL_RULES, classifier_free, reference_acts
from model.diffusion.injection import InjectionConditions, NoisedReferences
from model.diffusion.noise import NoiseSchedule, PredictionType
from model.diffusion.sampling_settings import SAMPLERS, SamplingSettings
from model.diffusion.schedulers import build_scheduler, timesteps_of


@dataclass(frozen=True, eq=False)
class Conditions:
    """What the UNet is told: context (B, N, D), or None for no reference; the sketch's hints; an empty sketch's for
    sketch guidance; and what attention injection reads. split: of a context of two references; injected_split: of the
    reference's own picture, for the pass that injection reads. features: what the decoder reads of B references."""

    context: torch.Tensor | None
    hints: Hints
    empty_hints: Hints | None = None
    injection: InjectionConditions | None = None
    split: SplitReference | None = None
    injected_split: SplitReference | None = None
    features: DecoderFeatures = NO_FEATURES


@dataclass(frozen=True, eq=False)
class Branches:
    """The network's predictions (B, C, h, w) with both conditions, without the reference, without the sketch."""

    conditional: torch.Tensor
    no_reference: torch.Tensor | None
    no_sketch: torch.Tensor | None


class GuidedNetwork:
    """The network and its conditions, prepared for all steps of one sampling.

    Branches are rows of one batch, ordered conditional, no sketch, no reference: those with a reference come first.
    Raises ValueError for settings whose conditions are missing.
    """

    def __init__(self, model: Denoiser, conditions: Conditions, settings: SamplingSettings) -> None:
        if settings.sketch_guidance_scale != 1 and conditions.empty_hints is None:
            raise ValueError("sketch guidance needs the hints of an empty sketch")
        self._model, self._settings = model, settings
        self._batch = len(conditions.hints[0])
        self._attention = AttentionControls(settings.reference_strength, settings.attention_scales)
        self._guides_sketch = settings.sketch_guidance_scale != 1
        self._guides_reference = settings.guidance_scale != 1
        self._has_reference = conditions.context is not None
        self._context = None
        times = 1 + self._guides_sketch
        self._split, self._injected_split = (
            None if split is None else split.repeat(times) for split in (conditions.split, conditions.injected_split)
        )
        if conditions.context is not None and conditions.split is not None:
            self._context = model.project_split(conditions.context, conditions.split).repeat(times)
        elif conditions.context is not None:
            self._context = model.project(conditions.context).repeat(times)
        # Every branch reads them: what is left out of one is the reference's tokens, as in training.
        counts = (times, times + 1) if self._guides_reference else (times,)
        self._features = {count: conditions.features.repeat(count) for count in counts}
        self._hints = self._rows(conditions.hints, conditions.empty_hints)
        self._bank = SelfAttentionBank()
        self._fidelity = settings.injection.fidelity if settings.injection else 0.0
        self._injected_hints: Hints = ()
        if conditions.injection is not None:
            injected = conditions.injection.hints or tuple(torch.zeros_like(hint) for hint in conditions.hints)
            self._injected_hints = self._rows(injected, injected)

    def branches(
        self, latents: torch.Tensor, timestep: torch.Tensor, acts: bool = True, injected: torch.Tensor | None = None
    ) -> Branches:
        """All branches that the settings need.

        latents (B, C, h, w) scaled for the network; timestep () or (B,); acts: whether the reference does at this step;
        injected (B, C, h, w): the noised reference to inject.
        """
        acts = acts and self._has_reference
        separate = self._guides_reference and (acts or injected is not None)
        times = 1 + self._guides_sketch + separate
        context = self._context if acts else None
        bank = None
        if injected is not None:
            self._denoise(
                injected,
                timestep,
                times,
                self._injected_hints,
                context,
                self._bank.write(),
                self._injected_split,
                NO_FEATURES,
            )
            bank = self._bank.read(self._fidelity, slice(-self._batch, None) if separate else slice(0))
        predictions = self._denoise(
            latents, timestep, times, self._hints, context, bank, self._split, self._features[times]
        ).chunk(times)
        no_reference = predictions[-1] if separate else predictions[0]  # the same where the reference does not act
        return Branches(
            predictions[0],
            no_reference if self._guides_reference else None,
            predictions[1] if self._guides_sketch else None,
        )

    def guided(
        self, latents: torch.Tensor, timestep: torch.Tensor, acts: bool = True, injected: torch.Tensor | None = None
    ) -> torch.Tensor:
        """One prediction (B, C, h, w) from the branches."""
        return guided(self.branches(latents, timestep, acts, injected), self._settings)

    def _denoise(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        times: int,
        hints: Hints,
        context: ProjectedContext | None,
        bank: SelfAttentionBank | None,
        split: SplitReference | None,
        features: DecoderFeatures,
    ) -> torch.Tensor:
        rows = times * self._batch
        # Without sketch guidance the branches are alike until they attend to the reference.
        alike = bank is None and timestep.ndim == 0 and not self._guides_sketch
        timesteps = timestep[None] if alike else timestep.expand(rows) if timestep.ndim == 0 else timestep.repeat(times)
        return self._model.denoise(
            latents if alike else latents.repeat(times, 1, 1, 1),
            timesteps,
            [level[:rows] for level in hints],
            context,
            attention=self._attention,
            split=None if context is None else split,
            features=features,
            bank=bank,
            branches=times if alike else 1,
        )

    def _rows(self, hints: Hints, without_sketch: Hints | None) -> Hints:
        """The hints of all branches; those of a step without the last branch are its first rows."""
        order = [hints]
        if self._guides_sketch and without_sketch is not None:
            order.append(without_sketch)
        if self._guides_reference and self._has_reference:
            order.append(hints)
        return hints if len(order) == 1 else tuple(torch.cat(levels) for levels in zip(*order, strict=True))


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


@torch.no_grad()
def sample(
    model: Denoiser,
    conditions: Conditions,
    noise: torch.Tensor,
    prediction_type: PredictionType,
    settings: SamplingSettings,
    generators: Sequence[torch.Generator] | None = None,
    noise_schedule: NoiseSchedule = "stable-diffusion",
) -> torch.Tensor:
    """Scaled latents (B, C, h, w) from standard normal noise of that shape.

    generators: one for each sample, needed (and used) only by samplers that add noise and by attention injection.
    Raises ValueError without them, and for settings whose conditions are missing.
    """
    if settings.adds_noise and (generators is None or len(generators) != len(noise)):
        added = "attention injection" if settings.injection else f"the sampler {settings.sampler}"
        raise ValueError(f"{added} adds noise and needs one generator per sample")
    # What stays the same over the steps.
    network = GuidedNetwork(model, conditions, settings)
    scheduler = build_scheduler(
        settings.sampler,
        prediction_type,
        noise_schedule,
        spacing=settings.spacing,
        sigma_schedule=settings.sigma_schedule,
    )
    timesteps = timesteps_of(scheduler, settings.steps)
    on_device = torch.tensor(timesteps, dtype=torch.float32).to(noise.device)
    references = _noised_references(conditions, settings, timesteps, generators, noise_schedule)
    extra = _step_options(settings, generators)

    # From noise to latents, one guided prediction at a time.
    latents = noise * scheduler.init_noise_sigma
    for index, timestep in enumerate(scheduler.timesteps):
        prediction = network.guided(
            scheduler.scale_model_input(latents, timestep),
            on_device[index],
            reference_acts(timesteps[index], settings),
            references.at(index) if references else None,
        )
        latents = scheduler.step(prediction, timestep, latents, **extra).prev_sample
    return latents


def _noised_references(
    conditions: Conditions,
    settings: SamplingSettings,
    timesteps: Sequence[float],
    generators: Sequence[torch.Generator] | None,
    noise_schedule: NoiseSchedule,
) -> NoisedReferences | None:
    if settings.injection is None or conditions.context is None:
        return None  # without a reference there is nothing to inject
    if conditions.injection is None or generators is None:
        raise ValueError("attention injection needs the reference's latents")
    return NoisedReferences(conditions.injection, settings.injection, timesteps, generators, noise_schedule)


def _step_options(settings: SamplingSettings, generators: Sequence[torch.Generator] | None) -> dict[str, Any]:
    """What the scheduler's step is told beside the prediction: only samplers that add noise take a generator."""
    options: dict[str, Any] = {"eta": settings.eta} if settings.eta else {}
    if generators is not None and (SAMPLERS[settings.sampler].stochastic or settings.eta):
        options["generator"] = list(generators)
    return options
