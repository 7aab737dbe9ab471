"""Leakage: colours of the reference's figure in the result's background.

By the masks of sketch and reference, for any picture. Of every colour the reference says how likely it is one of its
figure's: the share of the figure that has it, over that and the share of the ground. Leakage is the mean of this over
the result's background, where the reference has the colour at all: 0 where the ground has the ground's colours alone, 1
where it has the figure's. Colours that both have count by half.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from eval.metrics.color import rgb_to_lab
from eval.metrics.metric import Metric, means

FEWEST_PIXELS = 64
_BINS = (10, 14, 14)  # of lightness, and of both colour axes: about as far apart as a person sees at a glance
_LOW, _HIGH = (0.0, -105.0, -105.0), (100.0, 105.0, 105.0)
_RARE = 1e-3  # a colour of a smaller share is none of theirs


def leaked_colors(
    result: Tensor, sketch_mask: Tensor, references: Sequence[Tensor], reference_masks: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """(leakage (B,), where it is (B, H, W) in [0, 1]).

    result (B, 3, H, W) and references (3, h, w) in [0, 1]; masks bool (B, H, W) and (h, w), true on figures. NaN where
    the result has fewer than FEWEST_PIXELS background pixels of known colour, or the reference no figure or no ground.
    """
    values, places = [], torch.zeros(result.shape[0], *result.shape[2:])
    for number, (reference, mask) in enumerate(zip(references, reference_masks, strict=True)):
        figure, ground = (_shares(reference, where) for where in (mask, ~mask))
        known = (figure > _RARE) | (ground > _RARE)
        likely = figure / (figure + ground).clamp(min=1e-12)
        bins = _bins(result[number])
        counted = ~sketch_mask[number] & known[bins]
        places[number] = torch.where(counted, likely[bins], 0.0)
        enough = counted.sum() >= FEWEST_PIXELS and mask.sum() >= FEWEST_PIXELS and (~mask).sum() >= FEWEST_PIXELS
        values.append(places[number][counted].mean() if enough else torch.tensor(torch.nan))
    return torch.stack(values), places


def _bins(picture: Tensor) -> Tensor:
    """The bin of each pixel of (3, h, w), (h, w)."""
    lab = rgb_to_lab(picture[None])[0]
    index = torch.zeros(picture.shape[1:], dtype=torch.long)
    for plane, count, low, high in zip(lab, _BINS, _LOW, _HIGH, strict=True):
        place = ((plane - low) / (high - low) * count).long().clamp(0, count - 1)
        index = index * count + place
    return index


def _shares(picture: Tensor, where: Tensor) -> Tensor:
    """Of each bin the share of the pixels there that have it."""
    counts = torch.bincount(_bins(picture)[where], minlength=_BINS[0] * _BINS[1] * _BINS[2]).double()
    return counts / counts.sum().clamp(min=1)


def _measure(
    result: Tensor, sketch_mask: Tensor, references: Sequence[Tensor], reference_masks: Sequence[Tensor]
) -> dict[str, Tensor]:
    return {"leakage": leaked_colors(result, sketch_mask, references, reference_masks)[0]}


def _map(
    result: Tensor, sketch_mask: Tensor, references: Sequence[Tensor], reference_masks: Sequence[Tensor]
) -> Tensor:
    return leaked_colors(result, sketch_mask, references, reference_masks)[1]


LEAKAGE = Metric(
    name="leakage",
    title="figure's colours in the ground",
    needs=("sketch_mask", "reference", "reference_mask"),
    measure=_measure,
    heat_map=_map,
    summarize=means("no pair has a figure and a ground on both sides"),
    scores="leakage",
    better="lower",
    meaning="how much of the background has colours of the reference's figure; 0 is none, 1 is all",
    source="ours; spatial entanglement is ColorizeDiffusion 1 and 3.2, thesis 7.1",
)
