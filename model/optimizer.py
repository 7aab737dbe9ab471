"""The optimizer of one trained network, as settings.

AdamW at a constant rate is what ColorizeDiffusion trains with (paper 002, section 4.1); the GANs take Adam with betas
of their own (thesis 4.2.2). Nothing heavy is imported here.
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
