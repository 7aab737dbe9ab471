"""Our parameter names and those of the released ColorizeDiffusion v1 files, both ways.

The released files number the UNet as Stable Diffusion does: input_blocks 0..11, middle_block 0..2, output_blocks
0..11 (for two residual blocks a level). Only the UNet and the sketch encoder are trained; a released file also holds
the frozen autoencoder and 12 constants of the noise schedule, which are made again here.
"""

from collections.abc import Iterable

import torch

from model.diffusion.noise import alphas_cumprod, betas
from model.errors import ModelError
from model.families.v1.network import V1
from model.families.v1.sizes import V1Config

UNET_PREFIX, SKETCH_PREFIX = "model.diffusion_model.", "control_encoder."

_UNET_STEMS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_RESNET_LEAVES = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_SKETCH_STEMS = {
    "stem": "model",
    "stem_hint": "zero_layer.0",
    "blocks": "output_blocks",
    "block_hints": "zero_blocks",
}


def published_name(name: str, config: V1Config) -> str:
    """The official key of one of our parameter names (`unet....` or `sketch_encoder....`). Raises ModelError."""
    part, rest = name.split(".", 1)
    if part not in ("unet", "sketch_encoder") or config.reference_tokens != "local":
        raise ModelError(f"the released layout has reference_tokens=local only, not {config.reference_tokens}: {name}")
    if part == "unet":
        return UNET_PREFIX + _unet_name(rest, config)
    stem, leaf = rest.split(".", 1)
    if stem == "block_hints":
        leaf = leaf.replace(".", ".0.", 1)
    return f"{SKETCH_PREFIX}{_SKETCH_STEMS[stem]}.{leaf}"


def _unet_name(name: str, config: V1Config) -> str:
    for ours, theirs in {**_UNET_STEMS, **_block_stems(config)}.items():
        if name.startswith(ours + "."):
            leaf = name[len(ours) + 1 :]
            if ".resnets." in ours:
                kind, tail = leaf.split(".", 1)
                leaf = f"{_RESNET_LEAVES[kind]}.{tail}"
            return f"{theirs}.{leaf}"
    raise KeyError(name)


def _block_stems(config: V1Config) -> dict[str, str]:
    """Stems of the numbered blocks: a level has res_blocks on the way down and res_blocks + 1 on the way up."""
    stems = {}
    levels, per_level = len(config.channels), config.res_blocks
    for level in range(levels):
        for index in range(per_level):
            number = 1 + level * (per_level + 1) + index
            stems[f"down_blocks.{level}.resnets.{index}"] = f"input_blocks.{number}.0"
            stems[f"down_blocks.{level}.attentions.{index}"] = f"input_blocks.{number}.1"
        stems[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{(level + 1) * (per_level + 1)}.0.op"
        for index in range(per_level + 1):
            number = level * (per_level + 1) + index
            stems[f"up_blocks.{level}.resnets.{index}"] = f"output_blocks.{number}.0"
            stems[f"up_blocks.{level}.attentions.{index}"] = f"output_blocks.{number}.1"
        # the up-sampler follows the level's last attention; the coarsest level has none
        slot = 1 if level == 0 else 2
        stems[f"up_blocks.{level}.upsamplers.0"] = f"output_blocks.{level * (per_level + 1) + per_level}.{slot}"
    return stems


def published_names(names: Iterable[str], config: V1Config) -> dict[str, str]:
    """Our name to official key, one to one."""
    table = {name: published_name(name, config) for name in names}
    assert len(set(table.values())) == len(table), "two parameters share an official key"
    return table


def to_published(model: V1) -> dict[str, torch.Tensor]:
    """The state dict of the model under the official keys."""
    table = published_names(model.state_dict(), model.config)
    return {table[name]: tensor for name, tensor in model.state_dict().items()}


def schedule_buffers() -> dict[str, torch.Tensor]:
    """The constants of the noise schedule that the released files hold, each float32 (1000,), by their names there."""
    beta, abar = betas(), alphas_cumprod()
    before = torch.cat([torch.ones(1, dtype=abar.dtype), abar[:-1]])
    variance = beta * (1 - before) / (1 - abar)
    table = {
        "betas": beta,
        "alphas_cumprod": abar,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": abar.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - abar).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - abar).log(),
        "sqrt_recip_alphas_cumprod": (1 / abar).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / abar - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": beta * before.sqrt() / (1 - abar),
        "posterior_mean_coef2": (1 - before) * (1 - beta).sqrt() / (1 - abar),
    }
    return {name: values.float() for name, values in table.items()}
