"""The UNet's transformers on tokens: self-attention, cross-attention and feed-forward over the positions of a level.

Two things differ from diffusers' own pass over the same layers. The 1x1 convolutions at both ends are products of
tokens, which spares the copies between the layouts of pictures and of tokens. And branches that differ only in whether
they see the reference are one row until the first cross-attention, the first place where they part.

Shapes: S rows that come in, B rows that go out, C channels, H W latent size of a level, Q = H W.
"""

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from model.backbone.attention import Steering


class ReferenceTransformer(nn.Module):
    """Takes over the layers of diffusers' transformer, so parameters keep their names.

    parts_branches: whether it is the network's first, where the branches of `Steering.branches` part.
    """

    def __init__(self, source: Transformer2DModel, parts_branches: bool) -> None:
        super().__init__()
        self.parts_branches = parts_branches
        self.norm, self.transformer_blocks = source.norm, source.transformer_blocks
        self.proj_in: nn.Conv2d = source.proj_in  # type: ignore[assignment]
        self.proj_out: nn.Conv2d = source.proj_out  # type: ignore[assignment]

    def forward(
        self, hidden_states: torch.Tensor, *, cross_attention_kwargs: dict[str, Any], **unused: Any
    ) -> tuple[torch.Tensor]:
        """(S, C, H, W) to ((B, C, H, W),): the call that diffusers' blocks make."""
        steering: Steering = cross_attention_kwargs["steering"]
        branches = steering.branches if self.parts_branches else 1
        size = hidden_states.shape[-2:]
        tokens = _pointwise(self.proj_in, self.norm(hidden_states).permute(0, 2, 3, 1).flatten(1, 2))
        for block in self.transformer_blocks:
            tokens = tokens + block.attn1(block.norm1(tokens), steering=steering)  # type: ignore[operator]
            tokens, branches, hidden_states = repeated(tokens, branches), 1, repeated(hidden_states, branches)
            tokens = tokens + block.attn2(block.norm2(tokens), steering=steering)  # type: ignore[operator]
            tokens = tokens + block.ff(block.norm3(tokens))  # type: ignore[operator]
        result = _pointwise(self.proj_out, tokens).unflatten(1, size).permute(0, 3, 1, 2)
        return (hidden_states + result,)


def repeated(rows: torch.Tensor, times: int) -> torch.Tensor:
    """All rows, so many times one after another, in the memory order that they have."""
    return rows if times == 1 else torch.cat([rows] * times)


def _pointwise(convolution: nn.Conv2d, tokens: torch.Tensor) -> torch.Tensor:
    """A 1x1 convolution of tokens (B, Q, C)."""
    return F.linear(tokens, convolution.weight.flatten(1), convolution.bias)
