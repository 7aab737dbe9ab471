"""The known-answer score: does a result take the colours of its own reference, or would any reference have done?

For assembled pictures the answer to "sketch A in the colours of B" can be drawn exactly. A result made with B counts as
right when it is nearer, in Lab, to that answer than to the one for another reference C. Chance is one half.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from eval.metrics.color import lab_distance
from eval.metrics.intervals import wilson
from eval.metrics.metric import Columns, Metric, Score


def nearer_to_own(result: Tensor, own_truth: Tensor, other_truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 where a result is nearer to its own truth, 0 where to the other one, ½ for a tie; float32 (B,).

    Pictures (B, 3, H, W) in [0, 1]; mask (B, H, W) of the pixels that count, default all. Mean CIE76 distance.
    """
    own, other = lab_distance(result, own_truth, mask), lab_distance(result, other_truth, mask)
    return ((own < other).float() + (own <= other).float()) / 2


def known_answer_share(nearer: Tensor, confidence: float = 0.95) -> Score:
    """The share of right results from `nearer` (N,) with its Wilson bounds; in float32, as saved scores have it."""
    bounds = wilson(float(nearer.sum()), nearer.numel(), confidence)
    return Score("known_answer_share", float(nearer.float().mean()), nearer.numel(), bounds)


def _measure(result: Tensor, truth: Tensor, other_truth: Tensor, determined: Tensor) -> dict[str, Tensor]:
    return {"nearer": nearer_to_own(result, truth, other_truth, determined)}


def _summarize(columns: Columns) -> list[Score]:
    return [known_answer_share(torch.from_numpy(columns["nearer"]))]


def _caption(columns: Mapping[str, float]) -> tuple[str, str]:
    return "colours of its own reference", {1.0: "yes", 0.5: "undecided", 0.0: "no"}[columns["nearer"]]


KNOWN_ANSWER = Metric(
    name="known_answer",
    title="its reference's colours",
    needs=("truth", "other_truth", "determined"),
    measure=_measure,
    summarize=_summarize,
    scores="known_answer_share",
    better="higher",
    meaning="share of results nearer in colour to the answer for their own reference than to another's; chance is 0.5",
    caption=_caption,
    source="ours; bounds: Wilson 1927",
)
