"""What the method adds to a recipe; the discriminator has an optimizer of its own."""

from dataclasses import dataclass, field

from model.optimizer import OptimizerSettings
from model.setting import check_ranges, setting
from tests.families.duel.sizes import DuelConfig


@dataclass(frozen=True, kw_only=True)
class DuelSettings:
    """How much the discriminator's verdict counts beside the pixels' distance, and how that one is trained."""

    adversarial: float = setting(0.1, help="Weight of the verdict.", panel="Method", least=0)
    discriminator: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(kind="adam", beta1=0.0, beta2=0.99, learning_rate=2e-3)
    )

    def __post_init__(self) -> None:
        check_ranges(self)

    def network(self, size: DuelConfig) -> DuelConfig:
        """The same for every setting."""
        return size
