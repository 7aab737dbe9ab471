"""What a stage of v1.5 computes: a v1 that stays as it is, and what is added to part figure from ground.

Thesis 5.5, "Separating Reference Representations" III.C. The loss is v1's (Eq. 5.3) with the split context; thresholds
of both masks are drawn for each sample (released code).

Shapes: B batch, C h w latents, N D reference tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F

from model.batch import Batch, Draw, Needs
from model.diffusion.separation import Separation
from model.families.v1.training import Conditioned, Denoiser, V1Stage
from model.families.v15.characters import reference_background, shows_character
from model.families.v15.network import V15
from model.families.v15.pipeline import SplitPipeline
from model.families.v15.settings import V15Settings
from model.stage import StageContext


class Parted(NamedTuple):
    """A batch as the network takes it: v1's, and what parts figure from ground."""

    v1: Conditioned
    background: torch.Tensor
    thresholds: torch.Tensor
    mask: torch.Tensor
    shown: torch.Tensor
    character: torch.Tensor

    @property
    def timesteps(self) -> torch.Tensor:
        """Of the samples, (B,)."""
        return self.v1.timesteps


class V15Stage(V1Stage):
    """See model.stage.Stage. Trained are the low-rank updates, the recovery and the threshold embedding alone."""

    model: V15
    settings: V15Settings
    pipeline = SplitPipeline

    def __init__(self, context: StageContext) -> None:
        super().__init__(context)
        assert isinstance(context.model, V15)
        self.model.requires_grad_(False)
        for part in self.model.added():
            part.requires_grad_(True)

    @property
    def needs(self) -> Needs:
        """Besides v1's: the masks of sketch and reference, and tags, which say whether there is a character."""
        needs = super().needs
        return replace(needs, pictures=(*needs.pictures, "mask", "reference_mask"), tags=True)

    def draws(self, width: int, height: int) -> Sequence[Draw]:
        """v1's first, then the thresholds of the sketch's mask and of the reference's."""
        return (*super().draws(width, height), Draw("thresholds", "uniform", (2,)))

    @torch.no_grad()
    def prepare(self, batch: Batch, *, training: bool = True) -> Parted:  # type: ignore[override]
        """As v1's; thresholds are drawn in both cases."""
        conditioned, settings = super().prepare(batch, training=training), self.settings
        draws = {name: values.to(self.device) for name, values in batch.draws.items()}
        span = settings.most_threshold - settings.least_threshold
        thresholds = (settings.least_threshold + span * draws["thresholds"]).float()
        # The background of the reference: all of it where there is no character.
        reference = batch.pictures["reference"].to(self.device)
        masks = batch.pictures["reference_mask"].to(self.device)
        character = shows_character(batch.tags, masks, settings)
        masks = masks * character[:, None, None, None]
        background = reference_background(reference, masks, thresholds[:, 1])
        tokens = self.image_encoder.encode(background, self._tokens).float()
        # Where the sketch shows its objects, at the size of the latents.
        height, width = conditioned.noised.shape[-2:]
        mask = F.adaptive_avg_pool2d(batch.pictures["mask"].to(self.device), (height, width))
        shown = draws["chances"][:, 0] >= settings.reference_drop
        if not training:
            shown = torch.ones_like(shown)
        return Parted(conditioned, tokens, thresholds, mask, shown, character)

    def losses(self, denoiser: Denoiser, conditioned: Parted) -> torch.Tensor:  # type: ignore[override]
        """Mean squared error of each sample, (B,)."""
        v1 = conditioned.v1

        def split(*inputs: torch.Tensor) -> torch.Tensor:
            rest = conditioned.background, conditioned.thresholds, conditioned.mask, conditioned.shown
            return denoiser(*inputs, *rest)

        return super().losses(split, v1)

    def validate(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """Besides v1's losses whether the sample's reference shows a character."""
        prepared = self.prepare(batch, training=False)
        return {"losses": self.losses(self.model, prepared), "character": prepared.character[:1].float()}

    def summarize(self, measured: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, float]:
        """v1's, and the share of the references that show a character."""
        share = float(torch.cat([sample["character"] for sample in measured]).mean())
        return super().summarize(measured) | {"validation_characters": share}

    def separation(self, sketches: Batch, references: Batch) -> Separation:
        """The masks of the pictures of two batches, those of references without a character left out."""
        masks = references.pictures["reference_mask"]
        character = shows_character(references.tags, masks, self.settings)
        found = [mask if there else None for mask, there in zip(masks, character.tolist(), strict=True)]
        return Separation(list(sketches.pictures["mask"]), found)
