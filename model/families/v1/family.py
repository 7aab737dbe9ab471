"""v1 as the registry knows it. Nothing heavy is imported until a network is wanted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from model.families.family import RELEASED, Family, Operations, ReleasedKeys, StageKind
from model.families.v1.recipes import DISTILL, RECIPES
from model.families.v1.settings import DistillSettings, V1Settings, check_parent, same_size
from model.families.v1.sizes import V1_SIZES, V1Config

if TYPE_CHECKING:
    import torch
    from torch import nn

    from model.colorist import Colorist
    from model.stage import Stage, StageContext

STABLE_DIFFUSION = "stable-diffusion"  # the stage of a checkpoint that was made of Stable Diffusion's weights


def _build(config: V1Config) -> "nn.Module":
    from model.families.v1.network import V1

    return V1(config)


def frozen(config: V1Config) -> Mapping[str, str]:
    """The frozen networks of a v1, and of what is built over one (model.families.family.Family)."""
    return {"codec": config.codec, "image_encoder": config.image_encoder}


def _stage(context: "StageContext") -> "Stage":
    from model.families.v1.training import V1Stage

    return V1Stage(context)


def _distill_stage(context: "StageContext") -> "Stage":
    from model.families.v1.distillation import DistillStage

    return DistillStage(context)


def _colorist(model: "nn.Module", networks: "Mapping[str, nn.Module]", metadata: Any) -> "Colorist":
    from model.diffusion.pipeline import ColorizationPipeline

    return ColorizationPipeline.of(model, networks, metadata, released=metadata.stage == RELEASED)


def _operations(config: V1Config, side: int) -> Operations:
    from model.families.v1.operations import count

    return count(config, side)


def _published_name(name: str, config: V1Config) -> str:
    from model.families.v1.released_keys import published_name

    return published_name(name, config)


def constants() -> "dict[str, torch.Tensor]":
    """What a released file of a v1, or of what is built over one, holds beside the weights."""
    from model.families.v1.released_keys import schedule_buffers

    return schedule_buffers()


_KIND = StageKind(
    settings=V1Settings,
    build=_stage,
    # paper 002, section 3.1: Waifu Diffusion 1.4; and the stage of the starter weights, which any stage may go on from
    fresh_from=(STABLE_DIFFUSION, RELEASED, "v1.palette"),
    check_parent=check_parent,
    same_size=same_size,
)

# The student is its teacher at the start, under the same noise and with the same tokens.
_DISTILLED = replace(
    _KIND,
    settings=DistillSettings,
    build=_distill_stage,
    fresh_from=(RELEASED, *(stage for stage in RECIPES if stage != DISTILL)),
    needs_parent=True,
)

FAMILY = Family(
    name="v1",
    title="ColorizeDiffusion v1",
    sizes=V1_SIZES,
    build=_build,
    frozen=frozen,
    stages=dict.fromkeys(RECIPES, _KIND) | {DISTILL: _DISTILLED},
    recipes=RECIPES,
    colorist=_colorist,
    operations=_operations,
    keys=ReleasedKeys(
        name=_published_name,
        parts={"unet": "unet.", "sketch encoder": "sketch_encoder.", "token projection": "projection."},
        constants=constants,
        starts_from={"stable-diffusion-2": STABLE_DIFFUSION, "v1": RELEASED},
        described=(
            "v1 starts from stable-diffusion-2 (Stable Diffusion 2.0 and 2.1, Waifu Diffusion 1.4) "
            "or a released v1 file"
        ),
        needed=("unet", "sketch encoder"),
    ),
    trained_side={"tiny": 128, "small": 192, "base": 512},
)
