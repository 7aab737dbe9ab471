"""Classifier-free guidance on reference and sketch.

Formulas only; `sampling.py` decides which branches run. The prediction of a branch is named c (both conditions), u_r
(no reference), u_s (no sketch). Thesis 2.3.2 writes guidance as c + gamma (c - u) (Eq. 2.16), Ho and Salimans as
u + s (c - u), where s = 1 + gamma; the scales here and in the papers' tables (GS-3, GS-5) are s, as in the released
code. The mean of two guidances is the released code's dual guidance.
"""

import torch

from model.diffusion.noise import TIMESTEPS
from model.diffusion.sampling_settings import SamplingSettings


def classifier_free(conditional: torch.Tensor, unconditional: torch.Tensor, scale: float) -> torch.Tensor:
    """u + s (c - u); with u_r this is reference guidance, with u_s sketch guidance.

    Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, Eq. 6, where s = 1 + w.
    """
    return unconditional + scale * (conditional - unconditional)


def dual_mean(
    conditional: torch.Tensor,
    no_reference: torch.Tensor,
    no_sketch: torch.Tensor,
    reference_scale: float,
    sketch_scale: float,
) -> torch.Tensor:
    """Half the sum of both guidances (released code): each acts at half its scale."""
    reference = classifier_free(conditional, no_reference, reference_scale)
    return (reference + classifier_free(conditional, no_sketch, sketch_scale)) / 2


def dual_sum(
    conditional: torch.Tensor,
    no_reference: torch.Tensor,
    no_sketch: torch.Tensor,
    reference_scale: float,
    sketch_scale: float,
) -> torch.Tensor:
    """c + (s_r - 1)(c - u_r) + (s_s - 1)(c - u_s), the usual sum: each guidance acts at its full scale."""
    reference = (reference_scale - 1) * (conditional - no_reference)
    return conditional + reference + (sketch_scale - 1) * (conditional - no_sketch)


DUAL_RULES = {"mean": dual_mean, "sum": dual_sum}


def in_window(timestep: float, window: tuple[float, float]) -> bool:
    """Whether start <= 1 - t / (T - 1) <= end, where 0 is pure noise and 1 is clean."""
    start, end = window
    return start <= 1 - timestep / (TIMESTEPS - 1) <= end


def reference_acts(timestep: float, settings: SamplingSettings) -> bool:
    """Whether the reference acts at this timestep: inside guidance_window, outside no_guidance_window."""
    without = settings.no_guidance_window
    return in_window(timestep, settings.guidance_window) and not (without and in_window(timestep, without))
