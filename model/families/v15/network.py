"""ColorizeDiffusion v1.5: a v1 whose cross-attention is split between the whole reference and its background.

Thesis 5.5, "Separating Reference Representations" III.C. Everything of the v1 stays under its names, so its weights are
taken over as they are; what is added is trained alone.

Shapes: B batch, C h w latents, H W picture, R <= B rows with a reference, N reference tokens, D context width.
"""

from collections.abc import Iterator

import torch
from torch import nn

from model.backbone.split_attention import AdaptedLinear, SplitReference
from model.families.v1.network import V1
from model.families.v15.recovery import ThresholdEmbedding, build_recovery
from model.families.v15.sizes import ThresholdTokens, V15Config


class V15(V1):
    """See `V1`; a split reference is a context of two references, foreground tokens before background tokens."""

    config: V15Config

    def __init__(self, config: V15Config) -> None:
        super().__init__(config)
        self.unet.split_attention(config.lora)
        self.threshold_embedding = ThresholdEmbedding(config.threshold_width, config.context_width)
        self.recovery = build_recovery(config)

    def forward(  # type: ignore[override]
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        sketch: torch.Tensor,
        tokens: torch.Tensor,
        background: torch.Tensor,
        thresholds: torch.Tensor,
        mask: torch.Tensor,
        shown: torch.Tensor,
    ) -> torch.Tensor:
        """Prediction (B, C, h, w) for noised latents (B, C, h, w), timesteps (B,) and a sketch (B, 3, H, W).

        tokens, background: of the reference and of its background (B, N, D). thresholds: (B, 2), of the sketch's mask
        and of the reference's. mask: of the sketch (B, 1, h, w), 1 = foreground. shown: (B,), whether the sample is
        shown a reference at all.
        """
        context = self.split_context(tokens, background, thresholds) * shown[:, None, None]
        split = SplitReference(mask.to(self.dtype), thresholds[:, 0].to(self.dtype)[:, None, None, None])
        projected = self.project_split(context, split)
        return self.denoise(latents, timesteps, self.encode_sketch(sketch), projected, split=split)

    def split_context(
        self,
        tokens: torch.Tensor,
        background: torch.Tensor,
        thresholds: torch.Tensor,
        *,
        recover: bool = True,
        embedded: ThresholdTokens | None = None,
    ) -> torch.Tensor:
        """The context (R, 2 N, D) of a reference's tokens and its background's, (R, N, D) each.

        thresholds: (R, 2), of the sketch's mask and of the reference's. recover: False for a background that is a
        picture of its own, which the frozen network understands (released code). embedded: the configuration's
        `threshold_tokens`, unless given.
        """
        of_sketch, of_reference = (self.threshold_embedding(each) for each in thresholds.unbind(1))
        tokens, background = tokens.to(self.dtype), background.to(self.dtype) + of_reference
        if (embedded or self.config.threshold_tokens) == "both":
            tokens = tokens + of_sketch
        return torch.cat([tokens, self.recovery(background) if recover else background], dim=1)

    def added(self) -> Iterator[nn.Module]:
        """The parts that the v1 below does not have: low-rank updates, recovery and threshold embedding."""
        for module in self.modules():
            if isinstance(module, AdaptedLinear):
                yield from module.children()
        yield from (self.threshold_embedding, self.recovery)
