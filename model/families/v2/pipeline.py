"""Colouring with v2: split attention, and a decoder that reads features of the background and of the style.

What the modes switch on ("Separating Reference Representations" III.F; "split" is its Fig. 11 B):

| mode | split attention, low-rank updates | background encoder | style encoder |
|---|---|---|---|
| vanilla | | | |
| style | | | yes |
| split | yes | | |
| background | yes | yes | |
| full | yes | yes | yes |

Each encoder sees a reference once for all steps and seeds of a batch; what the batch before used is kept. A background
of its own gives the ground instead; the merging scale then blends its style in, elsewhere the ground's colours into the
figure's attention (released code).

Shapes: H W padded picture, N tokens of a reference, D context width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from model.backbone.attention import KeysValues
from model.backbone.decoder_features import DecoderFeatures
from model.backbone.feature_encoder import size_ratios
from model.backbone.split_attention import SplitReference
from model.diffusion.pipeline import ReferenceTokens, Task
from model.diffusion.sampling import Conditions
from model.diffusion.sampling_settings import SamplingSettings
from model.diffusion.separation import Separation, averaged
from model.errors import ModelError
from model.families.v2.modes import PARTS, lacking, usual_mode
from model.families.v2.network import V2
from model.families.v15.pipeline import Acting, SplitPipeline, background


class Seen(NamedTuple):
    """What a split encoder reads besides the tokens of a picture: where its figure is (1, h, w), None: nowhere; and the
    tokens (1, N, D) of its ground."""

    mask: torch.Tensor | None
    ground: torch.Tensor


class SeparatePipeline(SplitPipeline):
    """See `SplitPipeline`."""

    model: V2
    controls = frozenset(entry.name for entry in fields(SamplingSettings))
    acting = {mode: Acting(split="split" in parts) for mode, parts in PARTS.items()}  # noqa: RUF012 (read only)

    @property
    def usual(self) -> str:
        """The mode that uses all that the network has."""
        return usual_mode(self.model.config)

    def mode(self, settings: SamplingSettings) -> str:
        """Of a call. Raises ModelError for one that the network does not have, or not yet."""
        mode = super().mode(settings)
        if missing := lacking(self.model.config, mode):
            raise ModelError(f"mode={mode} {missing}")
        return mode

    def _context(
        self, whole: torch.Tensor, ground: torch.Tensor, settings: SamplingSettings, own: bool
    ) -> torch.Tensor:
        return torch.cat([whole, ground], dim=1).to(self.model.dtype)

    def _contexts(
        self,
        references: dict[int, torch.Tensor],
        settings: SamplingSettings,
        batch_size: int,
        separation: Separation | None,
    ) -> dict[int, ReferenceTokens]:
        contexts = super()._contexts(references, settings, batch_size, separation)
        if self.mode(settings) != "style" or separation is None:
            return contexts
        # Split attention does not act, but the style of a background of its own is blended in.
        grounds = {n: own for n in references if (own := separation.background_of(n)) is not None}
        tokens = self._tokens(list(grounds.values()), settings, batch_size)
        return contexts | {n: contexts[n]._replace(ground=row) for n, row in zip(grounds, tokens, strict=True)}

    def _features(
        self,
        references: dict[int, torch.Tensor],
        tokens: Mapping[int, ReferenceTokens],
        size: tuple[int, int],
        settings: SamplingSettings,
        separation: Separation | None,
    ) -> dict[int, DecoderFeatures]:
        """Of the background still without its mask, which is the sketch's."""
        parts = PARTS[self.mode(settings)]
        if not parts & {"background", "style"}:
            return {}
        self._visit(self.model, self.codec)
        return {
            n: self._of(picture, tokens[n], n, parts, size, settings, separation) for n, picture in references.items()
        }

    def _of(
        self,
        picture: torch.Tensor,
        tokens: ReferenceTokens,
        index: int,
        parts: frozenset[str],
        size: tuple[int, int],
        settings: SamplingSettings,
        separation: Separation | None,
    ) -> DecoderFeatures:
        threshold = settings.reference_threshold
        own = None if separation is None else separation.background_of(index)
        whole, found = tokens.whole, tokens.ground
        assert whole is not None
        # What split encoders read: figure and ground of a reference; of one that gives no ground, and of a picture that
        # gives nothing else, all of it.
        split: Seen | None = None
        if self.model.config.split_encoders:
            mask = torch.zeros(1, 1, 1) if separation is None else separation.mask_of(index)
            split = Seen(torch.ones(1, 1, 1), whole) if own is not None or found is None else Seen(mask, found)
        ground = style = None
        if "background" in parts:
            assert separation is not None
            shown, seen = background(picture, separation, index, threshold), whole
            # The released interface shows the background's encoder the reference's tokens beside a style.
            if own is not None and found is not None and not (self.released and "style" in parts):
                seen = found
            of_own = split if own is None or split is None else Seen(torch.zeros(1, 1, 1), seen)
            ground = self._encoded(self.model.background_features, shown, seen, of_own, size, threshold)
        if "style" in parts:
            style = self._encoded(self.model.style_features, picture, whole, split, size, threshold)
            if own is not None and found is not None and settings.merging_scale:
                of_own = split and Seen(torch.zeros(1, 1, 1), found)
                other = self._encoded(self.model.style_features, own, found, of_own, size, threshold)
                style = tuple(torch.lerp(a, b, settings.merging_scale) for a, b in zip(style, other, strict=True))
        everywhere = SplitReference(torch.zeros(1, 1, 1, 1)) if ground is not None else None
        return self.model.decoder_features(ground, style, everywhere, settings.background_factor)

    def _encoded(
        self,
        encode: Any,
        picture: torch.Tensor,
        tokens: torch.Tensor,
        seen: Seen | None,
        size: tuple[int, int],
        threshold: float,
    ) -> tuple[torch.Tensor, ...]:
        """What an encoder makes of a picture (3, h, w), warped to (H, W); seen: by a split encoder."""
        height, width = picture.shape[-2:]
        # As released: bicubic, proportions not kept.
        warped = F.interpolate(picture[None].to(self.device), size=size, mode="bicubic", antialias=True).clamp(-1, 1)
        latents, split = self.codec.encode(warped), None
        if seen is not None:
            tall, wide = latents.shape[-2:]
            mask = torch.zeros(1, 1, 1) if seen.mask is None else seen.mask
            split = SplitReference(averaged(mask[None], (tall, wide)).to(latents), threshold, once=True)
            tokens = torch.cat([tokens, seen.ground], dim=1)
        found: tuple[torch.Tensor, ...] = encode(latents, tokens, size_ratios([(height, width)], size), split)
        return found

    def _separated(
        self,
        conditions: Conditions,
        batch: Sequence[Task],
        size: tuple[int, int],
        settings: SamplingSettings,
        separation: Separation | None,
        features: Mapping[int, DecoderFeatures],
    ) -> Conditions:
        conditions = super()._separated(conditions, batch, size, settings, separation, features)
        references = [task.reference for task in batch if task.reference is not None]
        if not (found := [features[n] for n in references if n in features]):
            return conditions
        split = conditions.split
        if split is not None and settings.merging_scale and found[0].style and separation is not None:
            # Where a background's style is blended in, the attention is left as it is.
            blends = [0.0 if separation.background_of(n) is not None else settings.merging_scale for n in references]
            merge: Any = torch.tensor(blends, device=self.device, dtype=self.model.dtype)[:, None, None]
            split = replace(split, merge=merge if any(blends) else 0.0)
            injected = conditions.injected_split
            injected = injected and replace(injected, merge=split.merge)
            conditions = replace(conditions, split=split, injected_split=injected)
        return replace(conditions, features=_together(found, split))


def _together(rows: Sequence[DecoderFeatures], split: SplitReference | None) -> DecoderFeatures:
    """The features of a batch, and where its sketches have ground."""
    read = tuple(
        KeysValues(
            torch.cat([one.key for one in reads if one.key is not None]), torch.cat([one.value for one in reads])
        )
        for reads in zip(*(row.background for row in rows), strict=True)
    )
    style = tuple(torch.cat(vectors) for vectors in zip(*(row.style for row in rows), strict=True))
    return DecoderFeatures(read, style, split if read else None)
