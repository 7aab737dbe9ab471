"""The denoising UNet of Stable Diffusion 2.1's shape, with sketch hints and reference attention that can be steered.

Built of diffusers' blocks; only the forward pass, the hints and the attention processor are ours. Hints are added to
the results of input blocks 0, 3, 6, 9 and 11, so they reach both the trunk and the skips (thesis Eq. 5.1). Every
latent size works: an up-sampler goes to the size of its skip.

Shapes: B batch, C latent channels, H W latent size, N reference tokens, D context width, Q = queries of a level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from model.config import V1Config


@dataclass(frozen=True, eq=False)
class SplitReference:
    """Two references in one context, (foreground tokens, background tokens) along N, separated by a sketch mask.

    mask: (B, 1, H, W) in [0, 1], 1 = foreground, at latent size. Positions below threshold take the background's
    attention; merge blends the background into the foreground (ColorizeDiffusion, released code, without LoRA).
    """

    mask: torch.Tensor
    threshold: float = 0.05
    foreground_strength: float = 1.0
    background_strength: float = 1.0
    merge: float = 0.0

    def levels(self, count: int) -> dict[int, torch.Tensor]:
        """The background positions of each level as (B, Q, 1) booleans, by number of queries Q."""
        height, width = self.mask.shape[-2:]
        found = {}
        for _ in range(count):
            mask = F.interpolate(self.mask, size=(height, width), mode="bicubic")
            found[height * width] = (mask < self.threshold).flatten(2).transpose(1, 2)
            height, width = -(-height // 2), -(-width // 2)  # as a convolution of stride 2 and padding 1
        return found


@dataclass(frozen=True, eq=False)
class _Steering:
    """What one forward pass tells its cross-attention layers."""

    reference_strength: float
    split: SplitReference | None
    background: dict[int, torch.Tensor]


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _attend(attn: Attention, query: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(head width)) v, before to_out."""
    key, value = (_heads(project(context), attn.heads) for project in (attn.to_k, attn.to_v))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class SteeredAttention:
    """Attention processor: self-attention as usual; cross-attention is scaled, and split where two references meet."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        steering: _Steering | None = None,
    ) -> torch.Tensor:
        query = _heads(attn.to_q(hidden_states), attn.heads)
        if encoder_hidden_states is None:
            out = _attend(attn, query, hidden_states)
        elif steering is None:
            out = _attend(attn, query, encoder_hidden_states)
        else:
            out = self._reference(attn, query, encoder_hidden_states, steering) * steering.reference_strength
        return attn.to_out[1](attn.to_out[0](out))

    @staticmethod
    def _reference(attn: Attention, query: torch.Tensor, context: torch.Tensor, steering: _Steering) -> torch.Tensor:
        split = steering.split
        if split is None:
            return _attend(attn, query, context)
        foreground_tokens, background_tokens = context.chunk(2, dim=1)
        foreground = _attend(attn, query, foreground_tokens) * split.foreground_strength
        background = _attend(attn, query, background_tokens) * split.background_strength
        foreground = foreground * (1 - split.merge) + background * split.merge
        return torch.where(steering.background[query.shape[2]], background, foreground)


def _diffusers_config(config: V1Config) -> dict[str, Any]:
    levels = len(config.channels)
    return {
        "in_channels": config.latent_channels,
        "out_channels": config.latent_channels,
        "block_out_channels": config.channels,
        "layers_per_block": config.res_blocks,
        "down_block_types": ("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        "cross_attention_dim": config.context_width,
        # diffusers reads this entry as the number of heads of each level
        "attention_head_dim": tuple(width // config.head_width for width in config.channels),
        "norm_num_groups": config.norm_groups,
    }


class ColorizationUNet(UNet2DConditionModel):
    """Predicts eps or v of noised latents from a timestep, reference tokens and sketch hints."""

    def __init__(self, config: V1Config) -> None:
        super().__init__(**_diffusers_config(config))
        self.set_attn_processor(SteeredAttention())  # type: ignore[arg-type]
        self._zero_initialise()

    def _zero_initialise(self) -> None:
        """Residual branches and the output start at zero, as in Stable Diffusion."""
        ends: list[nn.Module] = [self.conv_out]
        for module in self.modules():
            if isinstance(module, ResnetBlock2D):
                ends.append(module.conv2)
            elif isinstance(module, Transformer2DModel):
                ends.append(module.proj_out)
        for end in ends:
            for parameter in end.parameters():
                nn.init.zeros_(parameter)

    def forward(  # type: ignore[override]
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor,
        hints: Sequence[torch.Tensor],
        *,
        reference_strength: float = 1.0,
        split: SplitReference | None = None,
    ) -> torch.Tensor:
        """Prediction (B, C, H, W) for latents (B, C, H, W), timesteps (B,) in [0, 999], context (B, N, D), five hints.

        reference_strength multiplies the result of every cross-attention (not the bias behind it).
        """
        background = split.levels(len(self.down_blocks)) if split else {}
        attention = {
            "encoder_hidden_states": context,
            "cross_attention_kwargs": {"steering": _Steering(reference_strength, split, background)},
        }
        emb = self.time_embedding(self.time_proj(timesteps).to(latents.dtype))

        h = self.conv_in(latents) + hints[0]
        skips = [h]
        for block, hint in zip(self.down_blocks, hints[1:], strict=True):
            h, results = block(h, emb, **(attention if hasattr(block, "attentions") else {}))
            h = h + hint
            skips += [*results[:-1], h]

        h = self.mid_block(h, emb, **attention)

        for block in self.up_blocks:
            count = len(block.resnets)  # type: ignore[arg-type]
            matching, skips = tuple(skips[-count:]), skips[:-count]
            size = skips[-1].shape[-2:] if skips else None
            h = block(h, matching, emb, upsample_size=size, **(attention if hasattr(block, "attentions") else {}))

        return self.conv_out(self.conv_act(self.conv_norm_out(h)))
