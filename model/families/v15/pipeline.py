"""Colouring with v1.5: figure after the whole reference, ground after its background or after a picture of its own.

What the modes switch on (released code, `mode`; "full" is what training does):

| mode | figure reads | ground reads | low-rank updates |
|---|---|---|---|
| vanilla | the reference, everywhere | | none: it is the v1 below |
| foreground | the reference | the reference | the figure's |
| background | the reference | the background | the ground's |
| full | the reference | the background | both |
| released-full | both | both | both |

Shapes: B batch, H W padded picture, N tokens of a reference, D context width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch

from model.backbone.decoder_features import DecoderFeatures
from model.backbone.split_attention import SplitReference
from model.diffusion.pipeline import ColorizationPipeline, ReferenceTokens, Task, on_paper
from model.diffusion.sampling import Conditions
from model.diffusion.sampling_settings import SamplingSettings
from model.diffusion.separation import Separation, averaged, without_figure
from model.errors import ModelError
from model.families.v15.network import V15


class Acting(NamedTuple):
    """What acts in a mode: split attention or none, the low-rank updates of both regions, whether the ground is shown
    the reference's background (or all of it), and whether each region reads both."""

    split: bool = True
    foreground_lora: bool = True
    background_lora: bool = True
    background: bool = True
    both: bool = False


ACTING: Mapping[str, Acting] = {
    "vanilla": Acting(split=False),
    "foreground": Acting(background_lora=False, background=False),
    "background": Acting(foreground_lora=False),
    "full": Acting(),
    "released-full": Acting(both=True),
}


class SplitPipeline(ColorizationPipeline):
    """See `ColorizationPipeline`; its calls take masks, and in modes that part figure from ground they need them."""

    model: Any
    controls = frozenset(entry.name for entry in fields(SamplingSettings)) - {"background_factor"}
    separates = True
    acting = ACTING

    def __init__(self, *networks: Any, released: bool = False, **options: Any) -> None:
        super().__init__(*networks, released=released, **options)
        self.released = released

    @property
    def usual(self) -> str:
        """The mode where none is set."""
        return "full"

    def mode(self, settings: SamplingSettings) -> str:
        """Of a call. Raises ModelError for one that the network does not have."""
        mode = settings.mode or self.usual
        if mode not in self.acting:
            raise ModelError(f"this network has no mode={mode}; it has: {', '.join(self.acting)}")
        return mode

    def _check_separation(
        self, separation: Separation | None, sketches: int, references: int, settings: SamplingSettings
    ) -> None:
        mode = self.mode(settings)
        if separation is not None:
            separation.check(sketches, references, self.acting[mode].split)
        elif self.acting[mode].split and references:
            raise ModelError(
                f"mode={mode} parts figure from ground by masks of sketch and reference: there are none; "
                "without masks there is mode=vanilla"
            )

    def _contexts(
        self,
        references: dict[int, torch.Tensor],
        settings: SamplingSettings,
        batch_size: int,
        separation: Separation | None,
    ) -> dict[int, ReferenceTokens]:
        """What the network reads of each reference: of a split, two."""
        acting = self.acting[self.mode(settings)]
        if not acting.split or separation is None:
            return super()._contexts(references, settings, batch_size, separation)
        pictures = list(references.values())
        if acting.background:
            pictures += [background(references[n], separation, n, settings.reference_threshold) for n in references]
        tokens = self._tokens(pictures, settings, batch_size)
        self._visit(self.model)
        contexts = {}
        for place, index in enumerate(references):
            whole = tokens[place]
            if not acting.background:
                contexts[index] = ReferenceTokens(whole.repeat(1, 2, 1), whole)  # no mask of the reference has a part
                continue
            ground = tokens[len(references) + place]
            context = self._context(whole, ground, settings, separation.background_of(index) is not None)
            contexts[index] = ReferenceTokens(context.repeat(1, 2, 1) if acting.both else context, whole, ground)
        return contexts

    def _context(
        self, whole: torch.Tensor, ground: torch.Tensor, settings: SamplingSettings, own: bool
    ) -> torch.Tensor:
        """The context (1, 2 N, D) of a reference's tokens and its background's; own: that is a picture of its own."""
        model: V15 = self.model
        thresholds = torch.tensor([[settings.sketch_threshold, settings.reference_threshold]], device=self.device)
        # The released interface tells both references their thresholds, whatever training did.
        embedded = "both" if self.released else model.config.threshold_tokens
        return model.split_context(whole, ground, thresholds, recover=not own, embedded=embedded)

    def _separated(
        self,
        conditions: Conditions,
        batch: Sequence[Task],
        size: tuple[int, int],
        settings: SamplingSettings,
        separation: Separation | None,
        features: Mapping[int, DecoderFeatures],
    ) -> Conditions:
        acting = self.acting[self.mode(settings)]
        if separation is None or conditions.context is None or not acting.split:
            return conditions
        cell = self.codec.config.downsampling
        latent = size[0] // cell, size[1] // cell
        sketches = [averaged(_padded(separation.sketch_masks[task.sketch], size), latent) for task in batch]
        split = self._split(torch.cat(sketches), settings)
        injected = None
        if conditions.injection is not None:
            masks = [separation.mask_of(task.reference) for task in batch if task.reference is not None]
            none = torch.zeros(1, 1, 1)
            injected = self._split(
                torch.cat([averaged((none if m is None else m)[None], latent) for m in masks]), settings
            )
        return replace(conditions, split=split, injected_split=injected)

    def _split(self, mask: torch.Tensor, settings: SamplingSettings) -> SplitReference:
        acting = self.acting[self.mode(settings)]
        return SplitReference(
            mask.to(self.device, self.model.dtype),
            settings.sketch_threshold,
            foreground=settings.foreground_strength,
            background=settings.background_strength,
            foreground_lora=float(acting.foreground_lora),
            background_lora=float(acting.background_lora),
            merge=settings.merging_scale,
            once=True,
        )


def background(picture: torch.Tensor, separation: Separation, index: int, threshold: float) -> torch.Tensor:
    """What a reference (3, h, w) gives to the ground: a picture of its own, or itself with its figure painted white.

    Where the mask is less than the threshold the reference stays (thesis 5.5.3; released code).
    """
    own = separation.background_of(index)
    return own if own is not None else without_figure(picture, separation.mask_of(index), threshold)


def _padded(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A sketch's mask (1, H', W') as (1, 1, *size): in the middle, as the sketch lies on its paper."""
    if any(side > total for side, total in zip(mask.shape[-2:], size, strict=True)):
        raise ModelError(f"a sketch's mask of {list(mask.shape[-2:])} is larger than its picture of {list(size)}")
    return on_paper(mask[None], size, 0.0)
