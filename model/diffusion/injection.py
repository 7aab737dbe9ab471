"""Attention injection: at every step a second pass over the noised reference, whose tokens self-attention reads too.

"Reference-only" control of the released code: it carries texture and style that the reference's tokens do not hold, at
twice the time. Each evaluation noises the reference afresh to its own timestep; the branch without a reference mixes
in what it would have been without the injection.

Shapes: B batch, C latent channels, h w latents, E evaluations of the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from model.diffusion.denoiser import Denoiser, Hints
from model.diffusion.noise import TIMESTEPS, NoiseSchedule, alphas_cumprod
from model.diffusion.sampling_settings import InjectionSettings
from model.frozen.codec import ImageCodec


@dataclass(frozen=True, eq=False)
class InjectionConditions:
    """What the pass over the reference is told: its scaled latents (B, C, h, w), and its hints; None: zeros."""

    reference_latents: torch.Tensor
    hints: Hints | None = None


@torch.no_grad()
def injection_conditions(
    model: Denoiser, codec: ImageCodec, references: torch.Tensor, size: tuple[int, int], settings: InjectionSettings
) -> InjectionConditions:
    """The conditions for pictures of size (H, W), multiples of the codec's downsampling.

    references (B, 3, h, w) in [-1, 1] of any size are brought to that size, not keeping their aspect. Their hints are
    those of the negative, whose dark lines are +1 as a sketch's, times sketch_strength (released code).
    """
    pictures = F.interpolate(references, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
    hints = model.encode_sketch(-pictures, settings.sketch_strength) if settings.sketch_strength else None
    return InjectionConditions(codec.encode(pictures), hints)


class NoisedReferences:
    """The reference's latents, noised to the timestep of each evaluation from `settings.start` on.

    All noise is drawn at once from each sample's own generator, so a seed gives the same alone or in a batch and no
    step waits for the host.
    """

    def __init__(
        self,
        conditions: InjectionConditions,
        settings: InjectionSettings,
        timesteps: Sequence[float],
        generators: Sequence[torch.Generator],
        noise_schedule: NoiseSchedule = "stable-diffusion",
    ) -> None:
        self._latents = conditions.reference_latents
        shape = (len(timesteps), *self._latents.shape[1:])
        noise = [torch.randn(shape, generator=generator, device=generator.device) for generator in generators]
        self._noise = torch.stack(noise, dim=1).to(self._latents)  # (E, B, C, h, w)
        self._active = [1 - timestep / (TIMESTEPS - 1) >= settings.start for timestep in timesteps]
        abar = alphas_cumprod(noise_schedule)[[round(timestep) for timestep in timesteps]]
        self._signal, self._sigma = abar.sqrt().tolist(), (1 - abar).sqrt().tolist()

    def at(self, evaluation: int) -> torch.Tensor | None:
        """(B, C, h, w) for that evaluation, or None before the injection starts."""
        if not self._active[evaluation]:
            return None
        return self._signal[evaluation] * self._latents + self._sigma[evaluation] * self._noise[evaluation]
