"""The optimizer of one trained network, as settings, and the learning rate over a stage.

AdamW at a constant rate is what ColorizeDiffusion trains with (paper 002, section 4.1); the GANs take Adam with betas
of their own (thesis 4.2.2). Progress is counted in images. Nothing heavy is imported here.
"""

from dataclasses import dataclass
from typing import Literal

from model.setting import EPSILON, check_choice, check_ranges, setting

OPTIMIZER = "Optimizer"  # the panel of its settings


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How one network's weights are stepped: by "adamw" (decoupled weight decay) or "adam"."""

    learning_rate: float = setting(
        1e-5, help="Rate of a step in the constant part of the schedule.", panel=OPTIMIZER, least=EPSILON
    )
    beta1: float = setting(0.9, help="Decay of the mean of gradients.", panel=OPTIMIZER, least=0.0, most=1 - EPSILON)
    beta2: float = setting(
        0.999, help="Decay of the mean of squared gradients.", panel=OPTIMIZER, least=0.0, most=1 - EPSILON
    )
    weight_decay: float = setting(0.01, help="Share of the weights that a step takes away.", panel=OPTIMIZER, least=0)
    gradient_clip: float = setting(
        0.0, help="Largest norm of a global batch's gradient; 0: not clipped.", panel=OPTIMIZER, least=0
    )
    kind: Literal["adamw", "adam"] = "adamw"

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("adamw", "adam"))
        check_ranges(self)


def scheduled_rate(
    peak: float, images_seen: int, *, images: int, batch_size: int, warmup_images: int, decay_images: int
) -> float:
    """The learning rate of the step that starts at `images_seen` of `images`.

    Linear warm-up over `warmup_images`, constant at `peak`, linear decay to a tenth over the last `decay_images`.
    """
    if images_seen < warmup_images:
        return peak * (images_seen + batch_size) / (warmup_images + batch_size)
    left = images - images_seen
    if left < decay_images:
        return peak * max(0.1, left / decay_images)
    return peak


def average_decay(most: float, steps: int) -> float:
    """Of a moving average's next step after `steps`: min(most, (1 + n) / (10 + n)), as is usual, so that the untrained
    weights at the beginning are soon forgotten."""
    return min(most, (1 + steps) / (10 + steps))
