"""What a weight file is, read from its keys and shapes alone, and which of its keys each part of a network needs.

A file's name says nothing here. Files of one folder come together under a prefix each ("unet/", "vae/"), so that a
folder of diffusers and a single file are looked at alike.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from model.backbone.config import BackboneConfig
from model.conversion.stable_diffusion_keys import AUTOENCODER_PREFIX, EMA_PREFIX, autoencoder_names, ema_name, fits
from model.families.family import Family, ReleasedKeys
from model.families.registry import all_families
from model.frozen.codec import build_codec
from model.weights.foreign_files import precisions

Tensors = Mapping[str, torch.Tensor]
Sizes = Mapping[str, BackboneConfig]
Layout = Literal["ldm", "diffusers", "released", "irodori"]
UNET_FOLDER, VAE_FOLDER = "unet/", "vae/"
# Of Stable Diffusion's and our own training code; nothing of a network.
_TRAINING_STATE = {"scale_factor", "logvar", "lvlb_weights", "model_ema.decay", "model_ema.num_updates"}
_TEXT_ENCODERS = ("cond_stage_model.", "conditioner.", "text_encoder/")
_CROSS_ATTENTION = "transformer_blocks.0.attn2.to_k.weight"
UNET_PREFIX, SKETCH_PREFIX = "model.diffusion_model.", "control_encoder."  # of the released diffusion families
# How the files of released families that are not registered are recognised, most special first: any key that starts
# with one of these, or holds the last.
_UNREGISTERED = {
    "xl": ("control_encoder.proj_ins.", "proj.attn."),
}
_STABLE_DIFFUSION = {768: "stable-diffusion-1", 1024: "stable-diffusion-2", 2048: "stable-diffusion-xl"}


@dataclass(frozen=True)
class Kind:
    """family: v1, v15, v2, xl, stable-diffusion-1, -2, -xl; variant: such as "inpainting"; size: the size
    whose UNet this one's shapes are, None where they are no size's."""

    family: str
    layout: Layout
    size: str | None = None
    variant: str = ""

    def __str__(self) -> str:
        return self.family + (f" ({self.variant})" if self.variant else "")


@dataclass(frozen=True)
class Part:
    """One part of a network as a file holds it. `table`: our name of each key; `missing`, `wrong`: the keys concerned,
    the latter with the shape found and the shape needed."""

    name: str
    table: Mapping[str, str]
    numbers: int
    precision: Mapping[str, int]
    missing: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def state(self) -> Literal["complete", "incomplete", "absent"]:
        """Whether every key is there, in the shape that is needed."""
        if not self.numbers:
            return "absent"
        return "incomplete" if self.missing or self.wrong else "complete"


def maker(kind: str) -> tuple[Family, ReleasedKeys] | None:
    """The registered family whose checkpoints are made of weights of that kind, and how their names are published."""
    for found in all_families():
        if found.keys is not None and (kind in found.keys.starts_from or kind == found.name):
            return found, found.keys
    return None


def kind_of(tensors: Tensors, sizes: Sizes | None = None) -> Kind | None:
    """The kind of model that has these keys and shapes; None where they are none's.

    sizes: of the networks that are looked for; without, those of the family whose keys these are. A checkpoint of ours
    says itself what it is (config.json) and need not be recognised.
    """
    if "unet.conv_in.weight" in tensors and any(key.startswith("sketch_encoder.") for key in tensors):
        own = _sizes_of("v1", sizes)
        return Kind("v1", "irodori", _size(tensors, "unet.conv_in.weight", "unet.down_blocks.", own))
    if UNET_FOLDER + "conv_in.weight" in tensors:
        first, blocks = UNET_FOLDER + "conv_in.weight", UNET_FOLDER + "down_blocks."
        return _stable_diffusion(tensors, "diffusers", first, blocks, sizes)
    first, blocks = UNET_PREFIX + "input_blocks.0.0.weight", UNET_PREFIX + "input_blocks."
    if first not in tensors:
        return None
    if any(key.startswith(SKETCH_PREFIX) for key in tensors):
        name = _released_family(tensors)
        return Kind(name, "released", _size(tensors, first, blocks, _sizes_of(name, sizes)))
    return _stable_diffusion(tensors, "ldm", first, blocks, sizes)


def _released_family(tensors: Tensors) -> str:
    """Which family a released file is of: one whose marks it bears, else v1, which has none."""
    marks = {found.name: found.keys.marks for found in all_families() if found.keys and found.keys.marks}
    for name, signs in (_UNREGISTERED | dict(reversed(marks.items()))).items():  # later families have more of them
        if any(key.startswith(signs) or signs[-1] in key for key in tensors):
            return name
    return "v1"


def _sizes_of(kind: str, given: Sizes | None) -> Sizes:
    """Those given, else of the family that checkpoints are made of from weights of that kind; none for others."""
    made = maker(kind)
    return given if given is not None else made[0].sizes if made else {}


def _context_width(tensors: Tensors, blocks: str) -> int:
    """Of the first cross-attention of the encoder; 0 where there is none."""
    found = (tensor for key, tensor in tensors.items() if key.startswith(blocks) and key.endswith(_CROSS_ATTENTION))
    return next((tensor.shape[1] for tensor in found if tensor.ndim == 2), 0)


def _size(tensors: Tensors, first: str, blocks: str, sizes: Sizes) -> str | None:
    for name, config in sizes.items():
        shape = (config.model_channels, config.latent_channels, 3, 3)
        if tensors[first].shape == shape and _context_width(tensors, blocks) == config.context_width:
            return name
    return None


def _stable_diffusion(tensors: Tensors, layout: Layout, first: str, blocks: str, sizes: Sizes | None) -> Kind:
    size = _size(tensors, first, blocks, _sizes_of("stable-diffusion-2", sizes))
    width = _context_width(tensors, blocks)
    family = "stable-diffusion-2" if size else _STABLE_DIFFUSION.get(width, "stable-diffusion of no published shape")
    inputs = tensors[first].shape[1] if tensors[first].ndim == 4 else 0
    known = {9: "inpainting", 5: "depth", 7: "upscaling", 8: "image editing"}
    labelled = any(UNET_PREFIX + "label_emb." in key or UNET_FOLDER + "class_embedding." in key for key in tensors)
    variant = known.get(inputs, "") or ("image variations" if labelled and family == "stable-diffusion-2" else "")
    return Kind(family, layout, size, variant)


def checkpoint_parts(found: Family, config: Any, tensors: Tensors) -> list[Part]:
    """The parts of a checkpoint of ours, as `tensors` holds them."""
    with torch.device("meta"):
        state = found.build(config).state_dict()
    titles = found.keys.parts if found.keys else {"network": ""}
    groups = (
        (title, {name: (name, tensor) for name, tensor in state.items() if name.startswith(start)})
        for title, start in titles.items()
    )
    return [_part(title, expected, tensors) for title, expected in groups if expected]


def parts_of(kind: Kind, config: Any, tensors: Tensors) -> list[Part]:
    """The parts of a family's network, or of the model that it starts from, as a foreign file holds them.

    Empty for a kind that no registered family is made of.
    """
    if (made := maker(kind.family)) is None:
        return []
    found, published = made
    with torch.device("meta"):
        state = found.build(config).state_dict()
    keys = {name: _key(name, kind.layout, config, published) for name in state if _belongs(name, kind, found)}
    parts = []
    for part, start in published.parts.items():
        expected = {
            keys[name]: (name, tensor) for name, tensor in state.items() if name in keys and name.startswith(start)
        }
        parts += [_part(part, expected, tensors)] if expected else []
    if kind.layout != "irodori" and "sd-vae" in found.frozen(config).values():
        parts.append(_part("autoencoder", _autoencoder(kind.layout, tensors), tensors))
    if kind.layout in ("ldm", "released"):
        buffers = {name: (name, tensor) for name, tensor in published.constants().items()}
        parts.append(_part("noise schedule", buffers, tensors))
    if any(key.startswith(EMA_PREFIX) for key in tensors):
        averaged = {ema_name(keys[name]): (name, state[name]) for name in state if name.startswith("unet.")}
        parts.append(_part("moving average", averaged, tensors))
    return parts


def unmatched(parts: Iterable[Part], tensors: Tensors) -> tuple[str, ...]:
    """The keys that are of no part, nor of a text encoder or a training's state."""
    known = {key for part in parts for key in part.table} | _TRAINING_STATE
    return tuple(sorted(key for key in tensors if key not in known and not key.startswith(_TEXT_ENCODERS)))


def text_encoder_keys(tensors: Tensors) -> list[str]:
    """The keys of a text encoder, which no family here has."""
    return [key for key in tensors if key.startswith(_TEXT_ENCODERS)]


def _belongs(name: str, kind: Kind, found: Family) -> bool:
    """Whether a file of that kind holds it: all of the family's own, the UNet alone of a Stable Diffusion."""
    return kind.family == found.name or name.startswith("unet.")


def _key(name: str, layout: Layout, config: Any, published: ReleasedKeys) -> str:
    if layout == "irodori":
        return name
    return UNET_FOLDER + name.removeprefix("unet.") if layout == "diffusers" else published.name(name, config)


def _autoencoder(layout: Layout, tensors: Tensors) -> dict[str, tuple[str, torch.Tensor]]:
    with torch.device("meta"):
        expected = build_codec("sd-vae").autoencoder.state_dict()
    prefix = VAE_FOLDER if layout == "diffusers" else ""
    found = [key.removeprefix(prefix) for key in tensors if key.startswith(prefix or AUTOENCODER_PREFIX)]
    if layout != "diffusers":
        found = found or [AUTOENCODER_PREFIX]  # absent or not, these would be its names
    names = autoencoder_names(expected, found)
    return {prefix + key: (name, expected[name]) for key, name in names.items()}


def _part(name: str, expected: Mapping[str, tuple[str, torch.Tensor]], tensors: Tensors) -> Part:
    found = {key: tensors[key] for key in expected if key in tensors}
    wrong = [
        f"{key} {list(tensor.shape)} instead of {list(expected[key][1].shape)}"
        for key, tensor in found.items()
        if not fits(tensor, expected[key][1].shape)
    ]
    return Part(
        name,
        {key: ours for key, (ours, _) in expected.items()},
        sum(tensor.numel() for tensor in found.values()),
        precisions(found.values()),
        tuple(sorted(expected.keys() - found.keys())),
        tuple(wrong),
    )
