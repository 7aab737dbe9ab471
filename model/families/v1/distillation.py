"""`v1.distill` (ours): a student that colours in a few steps without guidance, taught by its parent's guided steps.

Between two of the student's timesteps the parent goes several steps of DDIM with guidance; the student learns the one
prediction that lands where they landed. Progressive distillation (Salimans and Ho, "Progressive Distillation for Fast
Sampling of Diffusion Models", 2022, Algorithm 2), all halvings at once, and with the guidance in the teacher (Meng et
al., "On Distillation of Guided Diffusion Models", 2023). None of the papers of v1 has it.

Shapes: B batch, C h w latents.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch

from model.diffusion.guidance import classifier_free
from model.diffusion.noise import TIMESTEPS, NoiseSchedule, scales
from model.families.v1.network import V1
from model.families.v1.settings import DistillSettings
from model.families.v1.training import Noised, V1Stage
from model.stage import StageContext


class DistillStage(V1Stage):
    """A v1 stage whose target is what a frozen copy of its parent's network arrives at."""

    settings: DistillSettings

    def __init__(self, context: StageContext) -> None:
        super().__init__(context)
        # The network still has the parent's weights here; a state that goes on is read into it later.
        self.teacher: V1 = copy.deepcopy(self.model).eval().requires_grad_(False)
        if context.bf16:
            self.teacher.to(torch.bfloat16)

    def timesteps(self, drawn: torch.Tensor) -> torch.Tensor:
        """Of the student's own steps, the one in whose part of the schedule the drawn timestep (B,) lies."""
        steps = self.settings.student_steps
        return step_timesteps((TIMESTEPS - 1 - drawn) * steps // TIMESTEPS, steps)

    def target(
        self, noised: Noised, timesteps: torch.Tensor, sketch: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        """v (B, C, h, w) with which one step of the student lands where the teacher's steps do."""
        settings, schedule = self.settings, self.settings.noise_schedule
        first = ((TIMESTEPS - 1 - timesteps) * settings.teacher_steps / TIMESTEPS).round()  # of the teacher's, (B,)
        hints = tuple(level.repeat(2, 1, 1, 1) for level in self.teacher.encode_sketch(sketch))
        projected = self.teacher.project(self.teacher.encode_context(context))  # the rows without it need none

        # The teacher's steps, each guided, of every sample from its own timestep.
        latents = noised.latents
        for step in range(settings.teacher_steps // settings.student_steps):
            now = step_timesteps(first + step, settings.teacher_steps)
            after = step_timesteps(first + step + 1, settings.teacher_steps)
            both = self.teacher.denoise(latents.repeat(2, 1, 1, 1), now.repeat(2), hints, projected)
            conditional, unconditional = both.chunk(2)
            predicted = classifier_free(conditional, unconditional, settings.teacher_guidance)
            signal, sigma = scales(now, latents, schedule)
            clean, noise = signal * latents - sigma * predicted, sigma * latents + signal * predicted
            landed_signal, landed_sigma = _scales_or_clean(after, latents, schedule)
            latents = landed_signal * clean + landed_sigma * noise

        # The picture of which one step from the first timestep makes these latents, and the v that says it.
        signal, sigma = scales(timesteps, latents, schedule)
        ratio = landed_sigma / sigma
        clean = (latents - ratio * noised.latents) / (landed_signal - ratio * signal)
        return (signal * noised.latents - clean) / sigma

    def recorded(self) -> Mapping[str, Any]:
        """Besides what every stage of v1 records: its own steps, without guidance."""
        sampling = {"sampler": "ddim", "spacing": "trailing", "steps": self.settings.student_steps}
        return {**super().recorded(), "sampling": {**sampling, "guidance_scale": 1.0}}


def step_timesteps(steps: torch.Tensor, count: int) -> torch.Tensor:
    """The timestep (B,) of each of `steps` (B,) of `count` evenly spaced ("trailing") ones; -1 behind the last."""
    return (TIMESTEPS - steps * TIMESTEPS / count).round().long() - 1


def _scales_or_clean(
    timesteps: torch.Tensor, like: torch.Tensor, schedule: NoiseSchedule
) -> tuple[torch.Tensor, torch.Tensor]:
    """`scales`; of timestep -1 those of latents without noise."""
    signal, sigma = scales(timesteps.clamp(min=0), like, schedule)
    ended = (timesteps < 0).view(-1, *[1] * (like.ndim - 1))
    return torch.where(ended, 1.0, signal), torch.where(ended, 0.0, sigma)
