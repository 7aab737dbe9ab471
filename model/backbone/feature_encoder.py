"""The encoder half of the denoising UNet as an encoder of references: it sees their latents once, without noise.

"Separating Reference Representations" III.B and III.D, thesis 5.6. Both the background encoder and the style encoder
are such; they begin with the weights of the UNet whose parameters they share the names of. That they run at timestep 0,
and are told by how much the reference was warped to the picture's size, is the released code's.

Shapes: R references, C latent channels, h w latents of the picture, N reference tokens, D context width, S width of
the sinusoids of one side's ratio.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps, get_timestep_embedding
from diffusers.models.unets.unet_2d_blocks import get_down_block
from torch import nn

from model.backbone.attention import AS_TRAINED, CrossAttention, ProjectedContext, Steering
from model.backbone.config import BackboneConfig
from model.backbone.split_attention import Lora, SplitReference
from model.backbone.unet import split_cross, split_layers, steered, zero_residuals
from model.backbone.zeros import zero

Output = Literal["background", "style"]
EPSILON = 1e-5  # of the residual blocks' norms, as in Stable Diffusion


class FeatureEncoder(nn.Module):
    """See above. output "background": a feature of each block's result; "style": a vector of its mean.

    ratio_width: S. Parameters that the UNet has too have its names.
    """

    def __init__(self, config: BackboneConfig, output: Output, ratio_width: int) -> None:
        super().__init__()
        self.output, self.ratio_width = output, ratio_width
        width = 4 * config.model_channels
        self.time_proj = Timesteps(config.model_channels, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(config.model_channels, width)
        self.size_embedding = TimestepEmbedding(2 * ratio_width, width)
        self.conv_in = nn.Conv2d(config.latent_channels, config.model_channels, 3, padding=1)
        self.down_blocks = nn.ModuleList(_blocks(config, width))
        self._cross_attentions = steered(list(self.down_blocks), CrossAttention)
        zero_residuals(self)
        self.outputs = nn.ModuleList(_outputs(config, output))
        for layer in self.outputs:
            zero(layer)

    def split_attention(self, lora: Lora) -> None:
        """Let every cross-attention read two references, through low-rank updates of these ranks."""
        self._cross_attentions = split_cross(self.down_blocks, lora)

    def forward(
        self,
        latents: torch.Tensor,
        context: torch.Tensor,
        ratios: torch.Tensor,
        split: SplitReference | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Of references' latents (R, C, h, w) what each block of the decoder reads, in the order in which those run:
        features (R, Q, channels of the skip), or vectors (R, 2 x channels of the result).

        context (R, N, D); with split (R, 2 N, D), of two references, by the mask of the reference. ratios (R, 2):
        `size_ratios`.
        """
        steering = Steering(self._projected(context, split), AS_TRAINED, split, None)
        attention = {"cross_attention_kwargs": {"steering": steering}}
        time = self.time_embedding(self.time_proj(torch.zeros(1, device=latents.device)).to(latents.dtype))
        emb = time + self.size_embedding(ratio_embedding(ratios, self.ratio_width).to(latents.dtype))

        h = self.conv_in(latents)
        results = [h]
        for block in self.down_blocks:
            h, within = block(h, emb, **(attention if hasattr(block, "attentions") else {}))
            results += within
        found = [self._told(layer, result) for layer, result in zip(self.outputs, results, strict=True)]
        return tuple(reversed(found))

    def _projected(self, context: torch.Tensor, split: SplitReference | None) -> ProjectedContext:
        if split is None:
            return ProjectedContext(tuple(layer.project(context) for layer in self._cross_attentions))
        layers = split_layers(self._cross_attentions)
        split.prepared(len(self.down_blocks))
        return ProjectedContext(tuple(layer.project_split(context, split) for layer in layers))

    def _told(self, layer: nn.Module, result: torch.Tensor) -> torch.Tensor:
        if self.output == "style":
            return layer(result.mean(dim=(2, 3)))  # type: ignore[no-any-return]
        return layer(result).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


def _blocks(config: BackboneConfig, time_width: int) -> list[nn.Module]:
    """Those of the UNet's encoder (`model.backbone.unet`)."""
    channels, last = config.channels, len(config.channels) - 1
    return [
        get_down_block(
            "CrossAttnDownBlock2D" if level < last else "DownBlock2D",
            num_layers=config.res_blocks,
            in_channels=channels[max(level - 1, 0)],
            out_channels=width,
            temb_channels=time_width,
            add_downsample=level < last,
            resnet_eps=EPSILON,
            resnet_act_fn="silu",
            resnet_groups=config.norm_groups,
            num_attention_heads=width // config.head_width,
            attention_head_dim=width // config.head_width,
            cross_attention_dim=config.context_width,
            downsample_padding=1,
        )
        for level, width in enumerate(channels)
    ]


def _outputs(config: BackboneConfig, output: Output) -> list[nn.Module]:
    """One for each block's result: a 1x1 convolution, or a linear layer to twice the channels of the decoder's result
    that has this one as its skip."""
    channels, last = config.channels, len(config.channels) - 1
    own, results = [channels[0]], [channels[0]]
    for level, width in enumerate(channels):
        down = level < last
        own += [width] * (config.res_blocks + down)
        # The decoder reads the result of a down-sampling as the first skip of the level below.
        results += [*[width] * config.res_blocks, *channels[level + 1 : level + 2]]
    if output == "background":
        return [nn.Conv2d(width, width, 1) for width in own]
    return [nn.Linear(width, 2 * result) for width, result in zip(own, results, strict=True)]


def size_ratios(sizes: Sequence[tuple[int, int]], size: tuple[int, int]) -> torch.Tensor:
    """(R, 2): by how much larger references of these (height, width) are than the picture, on each side.

    One that is smaller on any side counts as larger by the picture's longer side, its proportions kept, so that the two
    cases are told apart (released code).
    """
    ratios = []
    for height, width in sizes:
        tall, wide = float(height), float(width)
        if height < size[0] or width < size[1]:
            tall = height + max(size)
            wide = width / height * tall
        ratios.append((tall / size[0], wide / size[1]))
    return torch.tensor(ratios)


def ratio_embedding(ratios: torch.Tensor, width: int) -> torch.Tensor:
    """(R, 2) to (R, 2 width): sinusoids of both ratios, one after the other."""
    waves = get_timestep_embedding(ratios.float().flatten(), width, flip_sin_to_cos=True, downscale_freq_shift=0)
    return waves.unflatten(0, ratios.shape).flatten(1)
