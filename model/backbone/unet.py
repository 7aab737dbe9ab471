"""The denoising UNet of Stable Diffusion 2.1's shape, with sketch hints and reference attention that can be steered.

Built of diffusers' blocks; only the forward pass, the hints and the attention are ours. Hints are added to the results
of input blocks 0, 3, 6, 9 and 11, so they reach both the trunk and the skips (thesis Eq. 5.1). Every latent size works:
an up-sampler goes to the size of its skip.

Shapes: B batch, C latent channels, H W latent size, R rows with a reference, N reference tokens, D context width.
"""

from collections.abc import Iterable, Sequence
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
from model.backbone.decoder_features import NO_FEATURES, BackgroundInjection, DecoderFeatures, StyleModulation
from model.backbone.split_attention import Lora, SplitCrossAttention, SplitReference
from model.backbone.transformer import ReferenceTransformer, repeated
from model.backbone.zeros import zero


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


def steered(parts: Sequence[nn.Module], cross: type[CrossAttention]) -> tuple[CrossAttention, ...]:
    """Let the transformers of some parts of a UNet, in the order in which they run, read a `Steering`; gives their
    cross-attentions, numbered in that order."""
    number = 0
    for part in parts:
        attentions: Any = getattr(part, "attentions", ())
        for place in range(len(attentions)):
            attentions[place] = ReferenceTransformer(attentions[place], parts_branches=number == 0)
            number += 1
    blocks = transformer_blocks(parts)
    for layer, block in enumerate(blocks):
        block.attn1 = SelfAttention(block.attn1, layer)  # type: ignore[assignment]
        block.attn2 = cross(block.attn2, layer)  # type: ignore[assignment,arg-type]
        if cross is ClassTokenAttention:
            block.norm2 = nn.Identity()  # type: ignore[assignment]  # of queries, which one token has no use for
    return tuple(block.attn2 for block in blocks)  # type: ignore[misc]


def transformer_blocks(parts: Iterable[nn.Module]) -> list[BasicTransformerBlock]:
    """Those of some parts of a UNet, in the order in which they run."""
    return [module for part in parts for module in part.modules() if isinstance(module, BasicTransformerBlock)]


def zero_residuals(parts: nn.Module) -> None:
    """Residual branches start at zero, as in Stable Diffusion."""
    for module in parts.modules():
        end = module.conv2 if isinstance(module, ResnetBlock2D) else None
        end = module.proj_out if isinstance(module, ReferenceTransformer) else end
        if end is not None:
            zero(end)


def split_cross(
    parts: Iterable[nn.Module], lora: Lora, adapted: Iterable[nn.Module] | None = None
) -> tuple[CrossAttention, ...]:
    """Let the cross-attentions of some parts read two references, through low-rank updates of these ranks in all or in
    the `adapted` parts; gives them in the order in which they run."""
    blocks = transformer_blocks(parts)
    updated = blocks if adapted is None else transformer_blocks(adapted)
    for block in blocks:
        block.attn2 = SplitCrossAttention(block.attn2, lora if block in updated else "off")  # type: ignore[assignment,arg-type]
    return tuple(block.attn2 for block in blocks)  # type: ignore[misc]


def split_layers(layers: Iterable[CrossAttention]) -> list[SplitCrossAttention]:
    """Those of a network that read two references; ValueError where it reads one."""
    found = [layer for layer in layers if isinstance(layer, SplitCrossAttention)]
    if not found:
        raise ValueError("this network reads one reference at a time: it cannot split its attention")
    return found


class ColorizationUNet(UNet2DConditionModel):
    """Predicts eps or v of noised latents from a timestep, reference tokens and sketch hints.

    What a family adds to it, before weights are loaded: `split_attention`, `inject_background`, `modulate_style`.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(**_diffusers_config(config))
        cross = ClassTokenAttention if config.reference_tokens == "cls" else CrossAttention
        self._cross_attentions = steered(self._parts, cross)
        zero_residuals(self)
        zero(self.conv_out)
        self.background_injections: nn.ModuleList | None = None
        self.style_modulations: nn.ModuleList | None = None

    @property
    def _parts(self) -> list[nn.Module]:
        """Those with transformers, in the order in which they run."""
        return [*self.down_blocks, self.mid_block, *self.up_blocks]

    def split_attention(self, lora: Lora) -> None:
        """Let every cross-attention read two references, through low-rank updates of these ranks."""
        self._cross_attentions = split_cross(self._parts, lora, self.up_blocks if lora == "released-v2" else None)  # type: ignore[arg-type]

    def inject_background(self, head_width: int) -> None:
        """Let every skip of the decoder read features of a background."""
        widths = [resnet.in_channels for resnet in self._decoder()]
        results = [self.mid_block.resnets[-1].out_channels, *(resnet.out_channels for resnet in self._decoder())]  # type: ignore[union-attr,operator]
        self.background_injections = nn.ModuleList(
            BackgroundInjection(width - result, head_width) for width, result in zip(widths, results, strict=False)
        )

    def modulate_style(self) -> None:
        """Let every result of the decoder be scaled and shifted by features of a style."""
        width: int = self.time_embedding.linear_2.out_features
        self.style_modulations = nn.ModuleList(
            StyleModulation(resnet.out_channels, width) for resnet in self._decoder()
        )

    def _decoder(self) -> list[ResnetBlock2D]:
        """Its residual blocks in the order in which they run: one for each skip."""
        return [resnet for block in self.up_blocks for resnet in block.resnets]  # type: ignore[union-attr,misc]

    @property
    def attention_layers(self) -> int:
        """Number of cross-attention layers."""
        return len(self._cross_attentions)

    def project(self, context: torch.Tensor) -> ProjectedContext:
        """What every cross-attention layer needs of a context (R, N, D)."""
        return ProjectedContext(tuple(layer.project(context) for layer in self._cross_attentions))

    def project_split(self, context: torch.Tensor, split: SplitReference) -> ProjectedContext:
        """`project` of two references in one context (R, 2 N, D), after `split_attention`."""
        return ProjectedContext(
            tuple(layer.project_split(context, split) for layer in split_layers(self._cross_attentions))
        )

    def forward(  # type: ignore[override]
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        context: ProjectedContext | None,
        hints: Sequence[torch.Tensor],
        *,
        controls: AttentionControls,
        split: SplitReference | None = None,
        features: DecoderFeatures = NO_FEATURES,
        bank: SelfAttentionBank | None = None,
        branches: int = 1,
    ) -> torch.Tensor:
        """Prediction (B, C, H, W) for latents (S, C, H, W), timesteps (B,) or (1,) in [0, 999], R <= B rows of context
        and five hints; B = S branches. features: of all B rows."""
        if split:
            split_layers(self._cross_attentions)
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

        h = self._decode(h, emb, skips, attention, features.prepared(len(self.down_blocks)))
        return self.conv_out(self.conv_act(self.conv_norm_out(h)))

    def _decode(
        self,
        h: torch.Tensor,
        emb: torch.Tensor,
        skips: list[torch.Tensor],
        attention: dict[str, Any],
        features: DecoderFeatures,
    ) -> torch.Tensor:
        """The decoder's pass, as diffusers' blocks make it, with features at every skip and every result."""
        injections, modulations = self._added(features)
        number = 0
        for block in self.up_blocks:
            for index, resnet in enumerate(block.resnets):  # type: ignore[arg-type]
                skip = skips.pop()
                if features.background:
                    skip = injections[number](skip, features.background[number], features.regions(skip))
                h = resnet(torch.cat([h, skip], dim=1), emb)
                if hasattr(block, "attentions"):
                    h = block.attentions[index](h, **attention)[0]  # type: ignore[index,operator]
                if index == len(block.resnets) - 1 and block.upsamplers is not None:  # type: ignore[arg-type]
                    h = block.upsamplers[0](h, skips[-1].shape[-2:])  # type: ignore[index,operator]
                if features.style:
                    h = modulations[number](h, features.style[number], emb)
                number += 1
        return h

    def _added(self, features: DecoderFeatures) -> tuple[nn.ModuleList, nn.ModuleList]:
        """The parts that read features; ValueError for features that no part reads."""
        none = nn.ModuleList()
        injections, modulations = self.background_injections or none, self.style_modulations or none
        if (features.background and not injections) or (features.style and not modulations):
            raise ValueError("this network reads no features of a reference")
        return injections, modulations
