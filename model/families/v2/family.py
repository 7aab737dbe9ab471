"""v2 as the registry knows it. Nothing heavy is imported until a network is wanted."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model.families.family import RELEASED, Family, Operations, Phase, ReleasedKeys, StageKind, common_weights
from model.families.v1.family import constants, frozen
from model.families.v2.modes import V2_CONTROLS, V2_MODES, lacking, usual_mode
from model.families.v2.recipes import RECIPES
from model.families.v2.settings import BackboneSettings, V2Settings, check_parent, columns, same_size
from model.families.v2.sizes import V2_SIZES, V2Config

if TYPE_CHECKING:
    import torch
    from torch import nn

    from model.colorist import Colorist
    from model.families.family import Tensors
    from model.stage import Stage, StageContext

ENCODERS = ("background_encoder.", "style_encoder.")
BACKBONES = ("v2.backbone", "v2.palette-backbone")
# What the phases before the last leave: no backbone yet.
NOISY, REFINE = (tuple(f"{stage}-{phase}" for stage in BACKBONES) for phase in ("noisy", "refine"))
# Of a parent that has been refined, or released, only what v2 adds is left to train.
REFINED = ("v1.refine", "v1.refine-uncropped", "v1.palette", "v1.released", *REFINE)
BACKGROUNDS = ("v2.background", "v2.palette-background")
STYLES = ("v2.style", "v2.palette-style")


def _build(config: V2Config) -> "nn.Module":
    from model.families.v2.network import V2

    return V2(config)


def _stage(context: "StageContext") -> "Stage":
    from model.families.v2.training import V2Stage

    return V2Stage(context)


def _colorist(model: "nn.Module", networks: "Mapping[str, nn.Module]", metadata: Any) -> "Colorist":
    from model.families.v2.pipeline import SeparatePipeline

    return SeparatePipeline.of(model, networks, metadata, released=metadata.stage == RELEASED)


def _operations(config: V2Config, side: int) -> Operations:
    from model.families.v2.operations import count

    return count(config, side)


def _adopt(fresh: "Tensors", given: "Tensors") -> "dict[str, torch.Tensor]":
    """The given weights; an encoder that they lack begins with those of the UNet's own (III.B)."""
    found = common_weights(fresh, given)
    for start in ENCODERS:
        if not any(name.startswith(start) for name in given):
            own = {name: "unet." + name.removeprefix(start) for name in fresh if name.startswith(start)}
            found |= {name: given[source] for name, source in own.items() if source in given}
    return found


def _published_name(name: str, config: V2Config) -> str:
    from model.families.v2.released_keys import published_name

    return published_name(name, config)


def _phases(settings: Any, parent_stage: str | None) -> list[Phase] | None:
    """Those of a `v2.backbone`, of which a refined parent has been through the first two."""
    if not isinstance(settings, BackboneSettings):
        return None
    return settings.phases(refined=parent_stage in (*REFINED, *BACKBONES))


def _kind(settings: type, fresh_from: tuple[str, ...], needs_parent: bool) -> StageKind:
    return StageKind(
        settings=settings,
        build=_stage,
        fresh_from=fresh_from,
        needs_parent=needs_parent,
        check_parent=check_parent,
        same_size=same_size,
        columns=columns,
        phases=_phases,
    )


# What the first stage starts from besides nothing: what v1 starts from, and what v1's stages made.
_FIRST = ("v1.stable-diffusion", "v1.noisy", "v1.noisy-uncropped", *NOISY, *REFINED, *BACKBONES)
_KINDS = {
    "backbone": _kind(BackboneSettings, _FIRST, needs_parent=False),
    "background": _kind(V2Settings, (*REFINED, *BACKBONES, *BACKGROUNDS, RELEASED), needs_parent=True),
    "style": _kind(V2Settings, (*BACKGROUNDS, *STYLES, RELEASED), needs_parent=True),
    "joint": _kind(V2Settings, (*_FIRST, "v2.joint", "v2.joint-style"), needs_parent=False),
}

FAMILY = Family(
    name="v2",
    title="ColorizeDiffusion v2",
    sizes=V2_SIZES,
    build=_build,
    frozen=frozen,
    stages={stage: _KINDS[stage.removeprefix("v2.").removeprefix("palette-").partition("-")[0]] for stage in RECIPES},
    recipes=RECIPES,
    colorist=_colorist,
    operations=_operations,
    adopt=_adopt,
    controls=V2_CONTROLS,
    modes=V2_MODES,
    usual_mode=usual_mode,
    lacking=lacking,
    keys=ReleasedKeys(
        name=_published_name,
        parts={
            "unet": "unet.",
            "sketch encoder": "sketch_encoder.",
            "background encoder": "background_encoder.",
            "style encoder": "style_encoder.",
        },
        constants=constants,
        starts_from={"v2": RELEASED},
        described="v2 starts from a released v2 file",
        needed=("unet", "sketch encoder", "background encoder", "style encoder"),
        marks=("bg_encoder.", "style_encoder.", "model.diffusion_model.style_modules.", ".warp_modules."),
    ),
    trained_side={"tiny": 128, "small": 192, "base": 768},
)
