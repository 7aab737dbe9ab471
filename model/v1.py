"""ColorizeDiffusion v1: a denoising UNet that sees a sketch through hints and a reference through its tokens.

Paper: ColorizeDiffusion section 3.1, thesis section 5.3.

Shapes: B batch, H W picture, h w latents (H / 8, W / 8), C latent channels, N reference tokens, D context width.
"""

from collections.abc import Sequence

import torch
from torch import nn

from model.config import V1Config
from model.sketch_encoder import SketchEncoder
from model.unet import ColorizationUNet, SplitReference

Hints = tuple[torch.Tensor, ...]


class V1(nn.Module):
    """The trained part of the system; codec and image encoder are frozen and stay outside.

    The network computes in the precision of its weights, whatever it is given; predictions come back in that of the
    latents, so that samplers and losses stay in fp32 around bf16 weights.
    """

    def __init__(self, config: V1Config) -> None:
        super().__init__()
        self.config = config
        self.unet = ColorizationUNet(config)
        self.sketch_encoder = SketchEncoder(config)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next(self.parameters()).dtype

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        sketch: torch.Tensor,
        context: torch.Tensor,
        *,
        sketch_strength: float = 1.0,
        reference_strength: float = 1.0,
    ) -> torch.Tensor:
        """Prediction (B, C, h, w) for noised latents (B, C, h, w), timesteps (B,), sketch (B, 3, H, W) in [-1, 1]
        with lines +1, and context (B, N, D); a context of zeros means "no reference"."""
        hints = self.encode_sketch(sketch, sketch_strength)
        return self.denoise(latents, timesteps, hints, context, reference_strength=reference_strength)

    def encode_sketch(self, sketch: torch.Tensor, strength: float = 1.0) -> Hints:
        """The five hints of a sketch (B, 3, H, W), times strength; needed once per picture."""
        return tuple(hint * strength for hint in self.sketch_encoder(sketch.to(self.dtype)))

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        hints: Sequence[torch.Tensor],
        context: torch.Tensor,
        *,
        reference_strength: float = 1.0,
        split: SplitReference | None = None,
    ) -> torch.Tensor:
        """As forward, from ready hints."""
        dtype = self.dtype
        prediction = self.unet(
            latents.to(dtype), timesteps, context.to(dtype), hints, reference_strength=reference_strength, split=split
        )
        return prediction.to(latents.dtype)
