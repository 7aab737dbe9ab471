"""Spatial entanglement with a known answer: does a result draw its reference's layout where the sketch has paper?

ColorizeDiffusion (section 1 and 3.2) calls content of the reference that appears outside the sketch "spatial
entanglement", and names no measure. This one needs pictures whose right answer is known: where sketch A shows paper,
the answer is the paper's flat colour. Errors there are compared between the places that only the own reference B covers
with its figure and those that only another reference C covers. Any model errs near A's outlines; only one that copies
B's layout errs more where B's figure stands.
"""

import torch
from torch import Tensor

from eval.metrics.color import rgb_to_lab
from eval.metrics.metric import Metric, means

FEWEST_PIXELS = 16


def layout_leak(result: Tensor, truth: Tensor, paper: Tensor, own_figure: Tensor, other_figure: Tensor) -> Tensor:
    """CIE76 error over paper under the own reference's figure minus that under the other's, (B,); 0 = no leak.

    Pictures (B, 3, H, W) in [0, 1]; masks bool (B, H, W): the sketch's paper, and each reference's figure, at the same
    places. NaN where either place has fewer than FEWEST_PIXELS pixels.
    """
    error_bhw = (rgb_to_lab(result) - rgb_to_lab(truth)).norm(dim=1)
    own, other = paper & own_figure & ~other_figure, paper & other_figure & ~own_figure
    return _mean_within(error_bhw, own) - _mean_within(error_bhw, other)


def _mean_within(values: Tensor, mask: Tensor) -> Tensor:
    pixels = mask.sum(dim=(1, 2))
    mean = (values * mask).sum(dim=(1, 2)) / pixels.clamp(min=1)
    return torch.where(pixels >= FEWEST_PIXELS, mean, torch.nan)


def _measure(
    result: Tensor, truth: Tensor, paper: Tensor, own_figure: Tensor, other_figure: Tensor
) -> dict[str, Tensor]:
    return {"layout_leak": layout_leak(result, truth, paper, own_figure, other_figure)}


LAYOUT_LEAK = Metric(
    name="layout_leak",
    title="leaked layout",
    needs=("truth", "paper", "own_figure", "other_figure"),
    measure=_measure,
    summarize=means("no pair has paper that only one of its references covers"),
    scores="layout_leak",
    better="lower",
    unit="ΔE",
    meaning="how much of the reference's layout shows on the sketch's empty paper; 0 is none",
    source="ours; spatial entanglement is ColorizeDiffusion 1 and 3.2",
)
