"""What the method adds to a recipe; the discriminator has an optimizer of its own."""

from dataclasses import dataclass, field

from model.optimizer import OptimizerSettings
from model.ranges import MANY, check_ranges
from tests.families.duel.sizes import DuelConfig


@dataclass(frozen=True, kw_only=True)
class DuelSettings:
    """adversarial: weight of the discriminator's verdict beside the pixels' distance."""

    adversarial: float = 0.1
    discriminator: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(kind="adam", beta1=0.0, beta2=0.99, learning_rate=2e-3)
    )

    def __post_init__(self) -> None:
        check_ranges(self, {"adversarial": (0, MANY)})

    def network(self, size: DuelConfig) -> DuelConfig:
        """The same for every setting."""
        return size
