"""The names of Stable Diffusion's networks in the layouts that people have, and ours.

Three layouts: LDM (one file, `model.diffusion_model.` and `first_stage_model.`), diffusers (a folder for each network,
or one file of it), ours (diffusers' UNet names under `unet.`). A UNet of SD 2.x has linear layers where ours has 1x1
convolutions, and LDM's autoencoder 1x1 convolutions where diffusers' has linear layers: the same numbers, reshaped.
"""

import re
from collections.abc import Iterable, Mapping

import torch

from model.frozen.codec import build_codec

AUTOENCODER_PREFIX = "first_stage_model."
EMA_PREFIX = "model_ema."
_UP_BLOCKS = 4  # numbered from the finest in LDM, from the coarsest in diffusers

_TO_LDM = (
    (r"\.down_blocks\.(\d+)\.resnets\.", r".down.\1.block."),
    (r"\.down_blocks\.(\d+)\.downsamplers\.0\.", r".down.\1.downsample."),
    (r"\.up_blocks\.(\d+)\.resnets\.", lambda found: f".up.{_UP_BLOCKS - 1 - int(found[1])}.block."),
    (r"\.up_blocks\.(\d+)\.upsamplers\.0\.", lambda found: f".up.{_UP_BLOCKS - 1 - int(found[1])}.upsample."),
    (r"\.mid_block\.resnets\.(\d)\.", lambda found: f".mid.block_{int(found[1]) + 1}."),
    (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
    (r"\.attn_1\.group_norm\.", ".attn_1.norm."),
    (r"\.attn_1\.to_([qkv])\.", r".attn_1.\1."),
    (r"\.attn_1\.to_out\.0\.", ".attn_1.proj_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
)
# diffusers before 0.12, and most published autoencoders
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def ldm_autoencoder_name(name: str) -> str:
    """LDM's name, without prefix, of a parameter of diffusers' autoencoder."""
    for pattern, replacement in _TO_LDM:
        name = re.sub(pattern, replacement, name)
    return name


def current_autoencoder_name(name: str) -> str:
    """Today's diffusers name of an autoencoder's parameter under a diffusers name of any age."""
    head, attention, leaf = name.rpartition(".mid_block.attentions.0.")
    first, _, rest = leaf.partition(".")
    return f"{head}{attention}{_OLD_ATTENTION.get(first, first)}.{rest}" if attention else name


def autoencoder_names(expected: Iterable[str], found: Iterable[str]) -> dict[str, str]:
    """Key in a file -> today's diffusers name, for an autoencoder in any layout; `expected` are all such names.

    Keys under `first_stage_model.` go before others, so that a whole Stable Diffusion in one file will do.
    """
    found, expected = set(found), list(expected)
    bare = {ldm_autoencoder_name(name): name for name in expected}
    ldm = {AUTOENCODER_PREFIX + key: name for key, name in bare.items()}
    if any(key.startswith(AUTOENCODER_PREFIX) for key in found):
        return ldm
    if any(key.startswith(("encoder.down.", "decoder.up.")) for key in found):
        return bare
    old = {key: current_autoencoder_name(key) for key in found}
    named = {key: name for key, name in old.items() if name in set(expected)}
    return {**{name: name for name in expected if name not in named.values()}, **named}


def autoencoder_layout(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """An autoencoder in any layout under diffusers' names and shapes; keys that are no part of it stay."""
    with torch.device("meta"):
        expected = build_codec("sd-vae").autoencoder.state_dict()
    names = autoencoder_names(expected, tensors)
    if any(key.startswith(AUTOENCODER_PREFIX) for key in tensors):
        tensors = {key: tensor for key, tensor in tensors.items() if key.startswith(AUTOENCODER_PREFIX)}
    return {
        names.get(key, key): shaped(tensor, expected[names[key]].shape) if key in names else tensor
        for key, tensor in tensors.items()
    }


def to_ldm_autoencoder(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """An autoencoder under diffusers' names in LDM's layout, `first_stage_model.` before each key."""
    attention = re.compile(r"\.mid\.attn_1\.(q|k|v|proj_out)\.weight$")
    found = {}
    for name, tensor in tensors.items():
        key = AUTOENCODER_PREFIX + ldm_autoencoder_name(name)
        found[key] = tensor[..., None, None] if attention.search(key) and tensor.ndim == 2 else tensor
    return found


def ema_name(key: str) -> str:
    """Under which key an LDM file keeps the moving average of `model.diffusion_model....`: without dots."""
    return EMA_PREFIX + key.removeprefix("model.").replace(".", "")


def fits(tensor: torch.Tensor, shape: torch.Size) -> bool:
    """Whether the shapes are equal, a linear layer counted as the 1x1 convolution that it is."""
    return _without_ones(tensor.shape) == _without_ones(shape)


def shaped(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The tensor in that shape where it fits, else as it is."""
    return tensor.reshape(shape) if fits(tensor, shape) else tensor


def _without_ones(shape: torch.Size) -> tuple[int, ...]:
    return tuple(shape[:-2]) if len(shape) == 4 and shape[-2:] == (1, 1) else tuple(shape)
