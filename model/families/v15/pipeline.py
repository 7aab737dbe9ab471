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

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
import torch.nn.functional as F

from model.backbone.split_attention import SplitReference
from model.diffusion.pipeline import ColorizationPipeline, Task, on_paper
from model.diffusion.sampling import Conditions
from model.diffusion.sampling_settings import Mode, SamplingSettings
from model.diffusion.separation import Separation, without_figure
from model.errors import ModelError
from model.families.v15.network import V15

USUAL: Mode = "full"


class SplitPipeline(ColorizationPipeline):
    """See `ColorizationPipeline`; its calls take masks, and in every mode but vanilla they need them."""

    model: V15
    controls = frozenset(entry.name for entry in fields(SamplingSettings))
    separates = True

    def __init__(self, *networks: Any, released: bool = False, **options: Any) -> None:
        super().__init__(*networks, released=released, **options)
        # The released interface tells both references their thresholds, whatever training did.
        self.embedded = "both" if released else self.model.config.threshold_tokens

    def _check_separation(
        self, separation: Separation | None, sketches: int, references: int, settings: SamplingSettings
    ) -> None:
        if separation is not None:
            separation.check(sketches, references)
        elif _mode(settings) != "vanilla" and references:
            raise ModelError(
                f"mode={_mode(settings)} parts figure from ground by masks of sketch and reference: there are none; "
                "without masks there is mode=vanilla"
            )

    def _contexts(
        self,
        references: dict[int, torch.Tensor],
        settings: SamplingSettings,
        batch_size: int,
        separation: Separation | None,
    ) -> dict[int, torch.Tensor]:
        """The context of each reference: (1, N, D), or (1, 2 N, D) of two."""
        mode = _mode(settings)
        if mode == "vanilla" or separation is None:
            return super()._contexts(references, settings, batch_size, separation)
        pictures = list(references.values())
        if mode != "foreground":
            pictures += [background(references[n], separation, n, settings.reference_threshold) for n in references]
        tokens = self._tokens(pictures, settings, batch_size)
        self._visit(self.model)
        thresholds = torch.tensor([[settings.sketch_threshold, settings.reference_threshold]], device=self.device)
        contexts = {}
        for place, index in enumerate(references):
            whole, own = tokens[place], separation.background_of(index) is not None
            if mode == "foreground":
                contexts[index] = whole.repeat(1, 2, 1)  # no mask of the reference has a part in it
                continue
            ground = tokens[len(references) + place]
            context = self.model.split_context(whole, ground, thresholds, recover=not own, embedded=self.embedded)
            contexts[index] = context.repeat(1, 2, 1) if mode == "released-full" else context
        return contexts

    def _separated(
        self,
        conditions: Conditions,
        batch: Sequence[Task],
        size: tuple[int, int],
        settings: SamplingSettings,
        separation: Separation | None,
    ) -> Conditions:
        if separation is None or conditions.context is None or _mode(settings) == "vanilla":
            return conditions
        cell = self.codec.config.downsampling
        latent = size[0] // cell, size[1] // cell
        sketches = [_at(_padded(separation.sketch_masks[task.sketch], size), latent) for task in batch]
        split = self._split(torch.cat(sketches), settings)
        injected = None
        if conditions.injection is not None:
            masks = [separation.mask_of(task.reference) for task in batch if task.reference is not None]
            none = torch.zeros(1, 1, 1)
            injected = self._split(torch.cat([_at((none if m is None else m)[None], latent) for m in masks]), settings)
        return replace(conditions, split=split, injected_split=injected)

    def _split(self, mask: torch.Tensor, settings: SamplingSettings) -> SplitReference:
        mode = _mode(settings)
        return SplitReference(
            mask.to(self.device, self.model.dtype),
            settings.sketch_threshold,
            foreground=settings.foreground_strength,
            background=settings.background_strength,
            foreground_lora=float(mode != "background"),
            background_lora=float(mode != "foreground"),
            merge=settings.merging_scale,
            once=True,
        )


def background(picture: torch.Tensor, separation: Separation, index: int, threshold: float) -> torch.Tensor:
    """What a reference (3, h, w) gives to the ground: a picture of its own, or itself with its figure painted white.

    Where the mask is less than the threshold the reference stays (thesis 5.5.3; released code).
    """
    own = separation.background_of(index)
    return own if own is not None else without_figure(picture, separation.mask_of(index), threshold)


def _mode(settings: SamplingSettings) -> Mode:
    return settings.mode or USUAL


def _padded(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A sketch's mask (1, H', W') as (1, 1, *size): in the middle, as the sketch lies on its paper."""
    if any(side > total for side, total in zip(mask.shape[-2:], size, strict=True)):
        raise ModelError(f"a sketch's mask of {list(mask.shape[-2:])} is larger than its picture of {list(size)}")
    return on_paper(mask[None], size, 0.0)


def _at(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A mask (1, 1, h, w) averaged over the cells of that size."""
    return F.adaptive_avg_pool2d(mask.float(), size)
