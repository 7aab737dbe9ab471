"""The denoising UNet of Stable Diffusion 2.1's shape, with sketch hints and reference attention that can be steered.

Built of diffusers' blocks; only the forward pass, the hints and the attention are ours. Hints are added to the results
of input blocks 0, 3, 6, 9 and 11, so they reach both the trunk and the skips (thesis Eq. 5.1). Every latent size works:
an up-sampler goes to the size of its skip.

Shapes: B batch, C latent channels, H W latent size, R rows with a reference, N reference tokens, D context width.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from model.backbone.attention import (
    AttentionControls,
    ClassTokenAttention,
    CrossAttention,
    ProjectedContext,
    SelfAttention,
    SelfAttentionBank,
    Steering,
)
from model.backbone.config import BackboneConfig
from model.backbone.split_attention import Lora, SplitCrossAttention, SplitReference
from model.backbone.transformer import ReferenceTransformer, repeated


def _diffusers_config(config: BackboneConfig) -> dict[str, Any]:
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

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(**_diffusers_config(config))
        cross = ClassTokenAttention if config.reference_tokens == "cls" else CrossAttention
        for number, (attentions, place) in enumerate(list(self._transformers())):
            attentions[place] = ReferenceTransformer(attentions[place], parts_branches=number == 0)  # type: ignore[arg-type]
        blocks = list(self._transformer_blocks())
        for layer, block in enumerate(blocks):
            block.attn1 = SelfAttention(block.attn1, layer)  # type: ignore[assignment]
            block.attn2 = cross(block.attn2, layer)  # type: ignore[assignment,arg-type]
            if cross is ClassTokenAttention:
                block.norm2 = nn.Identity()  # type: ignore[assignment]  # of queries, which one token has no use for
        self._cross_attentions: tuple[CrossAttention, ...] = tuple(block.attn2 for block in blocks)  # type: ignore[misc]
        self._zero_initialise()

    def split_attention(self, lora: Lora) -> None:
        """Let every cross-attention read two references, through low-rank updates of these ranks."""
        for block in self._transformer_blocks():
            block.attn2 = SplitCrossAttention(block.attn2, lora)  # type: ignore[assignment,arg-type]
        self._cross_attentions = tuple(block.attn2 for block in self._transformer_blocks())  # type: ignore[misc]

    def _transformers(self) -> Iterator[tuple[nn.ModuleList, int]]:
        """Where they are, in the order in which they run."""
        for part in (*self.down_blocks, self.mid_block, *self.up_blocks):
            attentions: nn.ModuleList = getattr(part, "attentions", nn.ModuleList())
            yield from ((attentions, place) for place in range(len(attentions)))

    def _transformer_blocks(self) -> Iterator[BasicTransformerBlock]:
        """In the order in which they run."""
        for part in (self.down_blocks, self.mid_block, self.up_blocks):
            yield from (module for module in part.modules() if isinstance(module, BasicTransformerBlock))

    @property
    def attention_layers(self) -> int:
        """Number of cross-attention layers."""
        return len(self._cross_attentions)

    def _zero_initialise(self) -> None:
        """Residual branches and the output start at zero, as in Stable Diffusion."""
        ends: list[nn.Module] = [self.conv_out]
        for module in self.modules():
            if isinstance(module, ResnetBlock2D):
                ends.append(module.conv2)
            elif isinstance(module, ReferenceTransformer):
                ends.append(module.proj_out)
        for end in ends:
            for parameter in end.parameters():
                nn.init.zeros_(parameter)

    def project(self, context: torch.Tensor) -> ProjectedContext:
        """What every cross-attention layer needs of a context (R, N, D)."""
        return ProjectedContext(tuple(layer.project(context) for layer in self._cross_attentions))

    def project_split(self, context: torch.Tensor, split: SplitReference) -> ProjectedContext:
        """`project` of two references in one context (R, 2 N, D), after `split_attention`."""
        return ProjectedContext(tuple(layer.project_split(context, split) for layer in self._split_layers()))

    def _split_layers(self) -> list[SplitCrossAttention]:
        """All cross-attentions, which read two references; ValueError where they do not."""
        layers = [layer for layer in self._cross_attentions if isinstance(layer, SplitCrossAttention)]
        if not layers:
            raise ValueError("this network reads one reference at a time: it cannot split its attention")
        return layers

    def forward(  # type: ignore[override]
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        context: ProjectedContext | None,
        hints: Sequence[torch.Tensor],
        *,
        controls: AttentionControls,
        split: SplitReference | None = None,
        bank: SelfAttentionBank | None = None,
        branches: int = 1,
    ) -> torch.Tensor:
        """Prediction (B, C, H, W) for latents (S, C, H, W), timesteps (B,) or (1,) in [0, 999], R <= B rows of context
        and five hints; B = S branches."""
        if split:
            self._split_layers()
            split = split.prepared(len(self.down_blocks))
        steering = Steering(context, controls, split, bank, branches)
        attention = {"cross_attention_kwargs": {"steering": steering}}
        emb = self.time_embedding(self.time_proj(timesteps).to(latents.dtype))

        h = self.conv_in(latents) + hints[0][: len(latents)]
        skips = [repeated(h, branches)]
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
