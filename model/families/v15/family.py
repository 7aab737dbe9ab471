"""v1.5 as the registry knows it. Nothing heavy is imported until a network is wanted."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model.families.family import RELEASED, Family, Operations, ReleasedKeys, StageKind
from model.families.v1.family import constants, frozen
from model.families.v15.modes import V15_CONTROLS, V15_MODES
from model.families.v15.recipes import RECIPES
from model.families.v15.settings import V15Settings, check_parent, same_size
from model.families.v15.sizes import V15_SIZES, V15Config

if TYPE_CHECKING:
    from torch import nn

    from model.colorist import Colorist
    from model.stage import Stage, StageContext


def _build(config: V15Config) -> "nn.Module":
    from model.families.v15.network import V15

    return V15(config)


def _stage(context: "StageContext") -> "Stage":
    from model.families.v15.training import V15Stage

    return V15Stage(context)


def _colorist(model: "nn.Module", networks: "Mapping[str, nn.Module]", metadata: Any) -> "Colorist":
    from model.families.v15.pipeline import SplitPipeline

    return SplitPipeline.of(model, networks, metadata, released=metadata.stage == RELEASED)


def _operations(config: V15Config, side: int) -> Operations:
    from model.families.v15.operations import count

    return count(config, side)


def _published_name(name: str, config: V15Config) -> str:
    from model.families.v15.released_keys import published_name

    return published_name(name, config)


_KIND = StageKind(
    settings=V15Settings,
    build=_stage,
    # Thesis 5.5.2: over a frozen backbone of two stages; ours is such a one too, and so is what was released.
    fresh_from=("v1.refine", "v1.refine-uncropped", "v1.palette", "v1.released", *RECIPES, RELEASED),
    needs_parent=True,
    check_parent=check_parent,
    same_size=same_size,
    columns=lambda settings: ("mask",),
)

FAMILY = Family(
    name="v15",
    title="ColorizeDiffusion v1.5",
    sizes=V15_SIZES,
    build=_build,
    frozen=frozen,
    stages=dict.fromkeys(RECIPES, _KIND),
    recipes=RECIPES,
    colorist=_colorist,
    operations=_operations,
    controls=V15_CONTROLS,
    modes=V15_MODES,
    usual_mode=lambda config: "full",
    keys=ReleasedKeys(
        name=_published_name,
        parts={
            "unet": "unet.",
            "sketch encoder": "sketch_encoder.",
            "recovery transformer": "recovery.",
            "threshold embedder": "threshold_embedding.",
        },
        constants=constants,
        starts_from={"v15": RELEASED},
        described="v15 starts from a released v1.5 file",
        needed=("unet", "sketch encoder", "recovery transformer", "threshold embedder"),
        marks=("transformer.", "thresh_embedder.", "lora_down_fg"),
    ),
    trained_side={"tiny": 128, "small": 192, "base": 512},
)
