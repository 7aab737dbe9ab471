"""ColorizeDiffusion v2: a v1 whose attention is split, and whose decoder reads features of background and style.

"Separating Reference Representations" III, thesis 5.6. Everything of the v1 stays under its names. Which of the added
parts act is said by what a call hands over, and nothing is kept from one call to the next: without a split reference
and features it is the v1 below.

Shapes: B batch, C h w latents, H W picture, R <= B rows with a reference, N reference tokens, D context width.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from model.backbone.attention import KeysValues
from model.backbone.decoder_features import NO_FEATURES, BackgroundInjection, DecoderFeatures
from model.backbone.feature_encoder import FeatureEncoder
from model.backbone.split_attention import AdaptedLinear, SplitReference
from model.errors import ModelError
from model.families.v1.network import V1
from model.families.v2.sizes import V2Config


class Told(NamedTuple):
    """What a training step tells the network besides v1's tokens; None: that part does not act.

    background: the background's tokens (B, N, D). mask: of the sketch (B, 1, h, w), 1 = foreground, and the threshold
    (B,) above which it is. lora: the factor of the low-rank updates (B,): 0 leaves them out of a sample. shown: (B,),
    whether the UNet is shown the tokens. background_latents, style_latents: (B, C, h, w), of what the encoders see,
    with the ratios (B, 2) of `size_ratios`. reference_mask, reference_threshold: as the sketch's, for split encoders.
    """

    shown: torch.Tensor
    ratios: torch.Tensor | None = None
    background: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    threshold: torch.Tensor | None = None
    lora: torch.Tensor | None = None
    background_latents: torch.Tensor | None = None
    style_latents: torch.Tensor | None = None
    reference_mask: torch.Tensor | None = None
    reference_threshold: torch.Tensor | None = None


class V2(V1):
    """See `V1`; a split reference is a context of two references, foreground tokens before background tokens."""

    config: V2Config

    def __init__(self, config: V2Config) -> None:
        super().__init__(config)
        self.unet.split_attention(config.lora)
        if config.background:
            self.background_encoder = FeatureEncoder(config, "background", config.ratio_width)
            self.unet.inject_background(config.injection_head_width)
        if config.style:
            self.style_encoder = FeatureEncoder(config, "style", config.ratio_width)
            self.unet.modulate_style()
        if config.split_encoders:
            for encoder in self._encoders():
                encoder.split_attention(config.lora)

    def forward(  # type: ignore[override]
        self, latents: torch.Tensor, timesteps: torch.Tensor, sketch: torch.Tensor, tokens: torch.Tensor, told: Told
    ) -> torch.Tensor:
        """Prediction (B, C, h, w) for noised latents (B, C, h, w), timesteps (B,), a sketch (B, 3, H, W) and a
        reference's tokens (B, N, D), which the encoders see whether the UNet is shown them or not."""
        shown, split, both = told.shown[:, None, None], None, None
        if told.background is not None:
            assert told.mask is not None
            both = torch.cat([tokens, told.background], dim=1)
            split = SplitReference(
                told.mask.to(self.dtype),
                _threshold(told.threshold, self.dtype),
                foreground_lora=_factor(told.lora, self.dtype),
                background_lora=_factor(told.lora, self.dtype),
            )
            projected = self.project_split(both * shown, split)
        else:
            projected = self.project(tokens * shown)
        features = self._features(tokens if not self.config.split_encoders or both is None else both, told, split)
        hints = self.encode_sketch(sketch)
        return self.denoise(latents, timesteps, hints, projected, split=split, features=features)

    def _features(self, context: torch.Tensor, told: Told, split: SplitReference | None) -> DecoderFeatures:
        by_mask = None
        if self.config.split_encoders and told.reference_mask is not None:
            threshold = _threshold(told.reference_threshold, self.dtype)
            by_mask = SplitReference(told.reference_mask.to(self.dtype), threshold)
        background = style = None
        if told.background_latents is not None:
            background = self.background_features(told.background_latents, context, told.ratios, by_mask)
        if told.style_latents is not None:
            style = self.style_features(told.style_latents, context, told.ratios, by_mask)
        return self.decoder_features(background, style, split)

    # ---- what a reference tells the decoder, needed once for each ------------------------------------------------

    def background_features(
        self,
        latents: torch.Tensor,
        context: torch.Tensor,
        ratios: torch.Tensor | None,
        split: SplitReference | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """The features of a background's latents (R, C, h, w), under a context (R, N, D) of tokens.

        ratios (R, 2): `size_ratios`. split: for split encoders, whose context is (R, 2 N, D).
        """
        return self._encoded("background", latents, context, ratios, split)

    def style_features(
        self,
        latents: torch.Tensor,
        context: torch.Tensor,
        ratios: torch.Tensor | None,
        split: SplitReference | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """The style vectors of a reference's latents (R, C, h, w); see `background_features`."""
        return self._encoded("style", latents, context, ratios, split)

    def decoder_features(
        self,
        background: tuple[torch.Tensor, ...] | None,
        style: tuple[torch.Tensor, ...] | None,
        split: SplitReference | None,
        factor: float = 1.0,
    ) -> DecoderFeatures:
        """What the decoder reads: of the background, times `factor`, where the split reference has background."""
        if background is None and style is None:
            return NO_FEATURES
        read: tuple[KeysValues, ...] = ()
        if background is not None:
            assert self.unet.background_injections is not None
            read = tuple(
                injection.project(feature if factor == 1 else feature * factor)
                for injection, feature in zip(self.unet.background_injections, background, strict=True)
                if isinstance(injection, BackgroundInjection)
            )
        return DecoderFeatures(read, style or (), split if read else None)

    def _encoded(
        self,
        part: str,
        latents: torch.Tensor,
        context: torch.Tensor,
        ratios: torch.Tensor | None,
        split: SplitReference | None,
    ) -> tuple[torch.Tensor, ...]:
        encoder = getattr(self, f"{part}_encoder", None)
        if encoder is None:
            raise ModelError(f"this network has no {part} encoder yet: it is trained by the stage v2.{part}")
        assert ratios is not None
        found: tuple[torch.Tensor, ...] = encoder(
            latents.to(self.dtype), context.to(self.dtype), ratios.to(latents.device), split
        )
        return found

    # ---- its parts -------------------------------------------------------------------------------------------------

    def updates(self) -> Iterator[nn.Module]:
        """The low-rank updates of the UNet's split attention."""
        yield from _updates(self.unet)

    def of_background(self) -> Iterator[nn.Module]:
        """The background encoder and its injection into the decoder."""
        yield from (self.background_encoder, self.unet.background_injections)  # type: ignore[misc]

    def of_style(self) -> Iterator[nn.Module]:
        """The style encoder and its modulation of the decoder."""
        yield from (self.style_encoder, self.unet.style_modulations)  # type: ignore[misc]

    def _encoders(self) -> Iterator[FeatureEncoder]:
        for part in ("background_encoder", "style_encoder"):
            if encoder := getattr(self, part, None):
                yield encoder


def _updates(network: nn.Module) -> Iterator[nn.Module]:
    for module in network.modules():
        if isinstance(module, AdaptedLinear):
            yield from module.children()


def _threshold(threshold: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    assert threshold is not None
    return threshold.to(dtype)[:, None, None, None]


def _factor(factor: torch.Tensor | None, dtype: torch.dtype) -> float | torch.Tensor:
    return 1.0 if factor is None else factor.to(dtype)[:, None, None]
