"""The family as the registry finds it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model.families.family import Family, Operations, StageKind
from tests.families.duel.recipes import RECIPES
from tests.families.duel.settings import DuelSettings
from tests.families.duel.sizes import SIZES, DuelConfig

if TYPE_CHECKING:
    from torch import nn

    from model.colorist import Colorist
    from model.stage import Stage, StageContext


def _build(config: DuelConfig) -> "nn.Module":
    from tests.families.duel.network import Duel

    return Duel(config)


def _stage(context: "StageContext") -> "Stage":
    from tests.families.duel.training import DuelStage

    return DuelStage(context)


def _colorist(model: "nn.Module", frozen: "Mapping[str, nn.Module]", metadata: Any) -> "Colorist":
    from tests.families.duel.training import colorist

    return colorist(model)


def _operations(config: DuelConfig, side: int) -> Operations:
    """Of the generator's three convolutions, two for each multiply."""
    width = config.width
    products = 9 * ((3 + width) * width + width * width + 3 * width)
    return Operations(trained=float(2 * products * side**2), frozen=0.0)


FAMILY = Family(
    name="duel",
    title="A generator and a discriminator of the test suite",
    sizes=SIZES,
    build=_build,
    frozen=lambda config: {},
    stages=dict.fromkeys(RECIPES, StageKind(settings=DuelSettings, build=_stage)),
    recipes=RECIPES,
    colorist=_colorist,
    operations=_operations,
)
