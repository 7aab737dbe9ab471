"""What sampling needs of a network, whatever its family: hints of a sketch, a context, and predictions from both.

Shapes: B batch, C h w latents, R <= B rows with a reference (the first of the batch), N reference tokens, D context
width.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from model.backbone.attention import AttentionControls, ProjectedContext, SelfAttentionBank
from model.backbone.decoder_features import DecoderFeatures
from model.backbone.split_attention import SplitReference

Hints = tuple[torch.Tensor, ...]


class Denoiser(Protocol):
    """A denoising network with a sketch encoder and reference attention."""

    config: Any
    """Of model.backbone.config.BackboneConfig, or with its fields."""

    def encode_sketch(self, sketch: torch.Tensor, strength: float = 1.0) -> Hints:
        """The hints of a sketch (B, 3, H, W), times strength; needed once per picture."""

    def encode_context(self, tokens: torch.Tensor) -> torch.Tensor:
        """The context (R, N, D) of the image encoder's tokens."""

    def project(self, context: torch.Tensor) -> ProjectedContext:
        """Keys and values of a context for all cross-attention layers; needed once per reference."""

    def project_split(self, context: torch.Tensor, split: SplitReference) -> ProjectedContext:
        """`project` of two references in one context, of networks that read two."""

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        hints: Sequence[torch.Tensor],
        context: torch.Tensor | ProjectedContext | None,
        *,
        attention: AttentionControls = ...,
        split: SplitReference | None = None,
        features: DecoderFeatures = ...,
        bank: SelfAttentionBank | None = None,
        branches: int = 1,
    ) -> torch.Tensor:
        """Prediction (B, C, h, w) for noised latents, B = branches x S hints."""
