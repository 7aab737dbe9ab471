"""The known-answer score: does a result take the colours of its own reference, or would any reference have done?

For assembled pictures the answer to "sketch A in the colours of B" can be drawn exactly. A result made with B counts as
right when it is nearer, in Lab, to that answer than to the one for another reference C. Chance is one half.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eval.metrics.color import lab_distance
from eval.metrics.intervals import wilson


@dataclass(frozen=True)
class KnownAnswer:
    """Share of right results with its Wilson bounds, and mean PSNR in dB by region, None where no picture has it."""

    share: float
    lower: float
    upper: float
    pairs: int
    region_psnr: dict[str, float | None]


def nearer_to_own(result: Tensor, own_truth: Tensor, other_truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 where a result is nearer to its own truth, 0 where to the other one, ½ for a tie; float32 (B,).

    Pictures (B, 3, H, W) in [0, 1]; mask (B, H, W) of the pixels that count, default all. Mean CIE76 distance.
    """
    own, other = lab_distance(result, own_truth, mask), lab_distance(result, other_truth, mask)
    return ((own < other).float() + (own <= other).float()) / 2


def summarize(nearer: Tensor, region_psnr: Mapping[str, Tensor], confidence: float = 0.95) -> KnownAnswer:
    """Score a whole run from its per picture values: `nearer` (N,) and region -> PSNR (N,), NaN where absent."""
    lower, upper = wilson(float(nearer.sum()), nearer.numel(), confidence)
    return KnownAnswer(
        share=float(nearer.mean()),
        lower=lower,
        upper=upper,
        pairs=nearer.numel(),
        region_psnr={name: _mean_present(values) for name, values in region_psnr.items()},
    )


def _mean_present(values: Tensor) -> float | None:
    present = values[~torch.isnan(values)]
    return float(present.mean()) if present.numel() else None
