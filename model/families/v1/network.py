"""ColorizeDiffusion v1: a denoising UNet that sees a sketch through hints and a reference through its tokens.

Paper: ColorizeDiffusion sections 3.1 and 4.2, thesis section 5.3.

Shapes: B batch, H W picture, h w latents (H / 8, W / 8), C latent channels, R <= B rows with a reference (the first of
the batch), N reference tokens, D context width.
"""

from collections.abc import Sequence

import torch
from torch import nn

from model.backbone.attention import AS_TRAINED, AttentionControls, ProjectedContext, SelfAttentionBank
from model.backbone.decoder_features import NO_FEATURES, DecoderFeatures
from model.backbone.sketch_encoder import SketchEncoder
from model.backbone.split_attention import SplitReference
from model.backbone.unet import ColorizationUNet
from model.diffusion.denoiser import Hints
from model.families.v1.sizes import V1Config


class TokenProjection(nn.Module):
    """One class token spread over many by two linear layers (ColorizeDiffusion section 4.2, the Proj model).

    The paper gives no widths: the hidden one is the token's own.
    """

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.spread = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, tokens * width))

    def forward(self, token: torch.Tensor) -> torch.Tensor:
        """(R, 1, D) to (R, N, D); a row of zeros means "no reference" and stays zeros."""
        present = (token != 0).any(dim=-1, keepdim=True)
        return self.spread(token).unflatten(-1, (self.tokens, -1)).flatten(1, 2) * present


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
        if config.reference_tokens == "proj":
            self.projection = TokenProjection(config.context_width, config.projected_tokens)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return self.unet.conv_in.weight.dtype

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, sketch: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Prediction (B, C, h, w) for noised latents (B, C, h, w), timesteps (B,), sketch (B, 3, H, W) in [-1, 1]
        with lines +1, and the image encoder's tokens (R, N, D); a row of zeros means "no reference"."""
        return self.denoise(latents, timesteps, self.encode_sketch(sketch), self.encode_context(tokens))

    def encode_sketch(self, sketch: torch.Tensor, strength: float = 1.0) -> Hints:
        """The five hints of a sketch (B, 3, H, W), times strength; needed once per picture."""
        hints: Hints = self.sketch_encoder(sketch.to(self.dtype))
        return hints if strength == 1 else tuple(hint * strength for hint in hints)

    def encode_context(self, tokens: torch.Tensor) -> torch.Tensor:
        """The context (R, N, D) of the image encoder's tokens: those themselves ("local", "cls"), or spread ("proj").

        Raises ValueError when there is not one class token where one is expected.
        """
        kind = self.config.reference_tokens
        if kind != "local" and tokens.shape[1] != 1:
            raise ValueError(f"reference_tokens={kind!r} takes one class token, not {tokens.shape[1]}")
        tokens = tokens.to(self.dtype)
        return self.projection(tokens) if kind == "proj" else tokens

    def project(self, context: torch.Tensor) -> ProjectedContext:
        """Keys and values of a context (R, N, D) for all cross-attention layers; needed once per reference."""
        return self.unet.project(context.to(self.dtype))

    def project_split(self, context: torch.Tensor, split: SplitReference) -> ProjectedContext:
        """`project` of two references in one context (R, 2 N, D), each by the weights of its region.

        Raises ValueError where the network reads one reference: a v1 does.
        """
        return self.unet.project_split(context.to(self.dtype), split)

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        hints: Sequence[torch.Tensor],
        context: torch.Tensor | ProjectedContext | None,
        *,
        attention: AttentionControls = AS_TRAINED,
        split: SplitReference | None = None,
        features: DecoderFeatures = NO_FEATURES,
        bank: SelfAttentionBank | None = None,
        branches: int = 1,
    ) -> torch.Tensor:
        """As forward, from ready hints and a context.

        branches > 1: the result is that of the latents so many times one after another, for B = branches x S hints
        with equal first ones, and one timestep (1,) for all; what the branches share is computed once.

        Only the first R rows of the batch see the reference: the others get what a context of zeros would give them,
        without computing it. None: no row sees one. split: of a context of two references, in a family whose network
        reads two; features: of all B rows, in a family whose decoder reads them. Raises ValueError when rows, layer
        scales, a split or features do not fit.
        """
        projected = self.project(context) if isinstance(context, torch.Tensor) else context
        rows = len(latents) * branches
        if projected is not None and projected.rows > rows:
            raise ValueError(f"a context of {projected.rows} rows is too long for a batch of {rows}")
        if branches > 1 and (bank is not None or len(timesteps) != 1):
            raise ValueError("branches need one timestep and no bank of self-attention")
        if len(attention.layer_scales) not in (0, self.unet.attention_layers):
            raise ValueError(f"layer_scales needs {self.unet.attention_layers} factors, one for each layer, or none")
        prediction = self.unet(
            latents.to(self.dtype),
            timesteps,
            projected,
            hints,
            controls=attention,
            split=split,
            features=features,
            bank=bank,
            branches=branches,
        )
        return prediction.to(latents.dtype)
