"""What a stage of v1.5 computes: a v1 that stays as it is, and what is added to part figure from ground.

Thesis 5.5, "Separating Reference Representations" III.C. The loss is v1's (Eq. 5.3) with the split context; thresholds
of both masks are drawn for each sample (released code).

Shapes: B batch, C h w latents, N D reference tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from model.batch import Batch, Draw, Needs
from model.diffusion.separation import Separation, averaged
from model.families.v1.training import Conditioned, Denoiser, V1Stage
from model.families.v15.characters import reference_background, shows_character
from model.families.v15.network import V15
from model.families.v15.pipeline import SplitPipeline
from model.families.v15.settings import PartedSettings, V15Settings
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


class PartedStage(V1Stage):
    """A stage of v1's loss that parts figure from ground by masks, whatever it trains of its network."""

    settings: PartedSettings

    @property
    def needs(self) -> Needs:
        """Besides v1's: the masks of sketch and reference, and tags, which say whether there is a character."""
        needs = super().needs
        return replace(needs, pictures=(*needs.pictures, "mask", "reference_mask"), tags=True)

    def draws(self, width: int, height: int) -> Sequence[Draw]:
        """v1's first, then the thresholds of the sketch's mask and of the reference's."""
        return (*super().draws(width, height), Draw("thresholds", "uniform", (2,)))

    def _thresholds(self, batch: Batch) -> torch.Tensor:
        """(B, 2), of the sketch's mask and of the reference's; drawn in training and in validation."""
        span = self.settings.most_threshold - self.settings.least_threshold
        drawn = batch.draws["thresholds"].to(self.device)
        return (self.settings.least_threshold + span * drawn).float()

    def _shown(self, batch: Batch, training: bool) -> torch.Tensor:
        """(B,) booleans, whether a sample is shown a reference at all."""
        chances = batch.draws["chances"][:, 0].to(self.device)
        return chances >= self.settings.reference_drop if training else torch.ones_like(chances, dtype=torch.bool)

    def _character(self, batch: Batch) -> torch.Tensor:
        """(B,) booleans, whether a sample's reference shows one."""
        return shows_character(batch.tags, batch.pictures["reference_mask"].to(self.device), self.settings)

    def validate(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """Besides v1's losses whether the sample's reference shows a character, where that matters."""
        prepared: Any = self.prepare(batch, training=False)
        measured = {"losses": self.losses(self.model, prepared)}
        return measured if prepared.character is None else measured | {"character": prepared.character[:1].float()}

    def summarize(self, measured: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, float]:
        """v1's, and the share of the references that show a character."""
        found = [sample["character"] for sample in measured if "character" in sample]
        share = {"validation_characters": float(torch.cat(found).mean())} if found else {}
        return super().summarize(measured) | share

    def separation(self, sketches: Batch, references: Batch) -> Separation | None:
        """The masks of the pictures of two batches, those of references without a character left out."""
        masks = references.pictures["reference_mask"]
        character = shows_character(references.tags, masks, self.settings)
        found = [mask if there else None for mask, there in zip(masks, character.tolist(), strict=True)]
        return Separation(list(sketches.pictures["mask"]), found)


def at_latents(mask: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """A mask (B, 1, H, W) averaged over the cells of latents (B, C, h, w)."""
    height, width = latents.shape[-2:]
    return averaged(mask.to(latents.device), (height, width))


class V15Stage(PartedStage):
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

    def shows(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """Besides the pictures what the ground is shown."""
        return {**batch.pictures, "ground": self._ground(batch, self._thresholds(batch), self._character(batch))}

    def _ground(self, batch: Batch, thresholds: torch.Tensor, character: torch.Tensor) -> torch.Tensor:
        """The background of the reference: all of it where there is no character."""
        reference = batch.pictures["reference"].to(self.device)
        masks = batch.pictures["reference_mask"].to(self.device) * character[:, None, None, None]
        return reference_background(reference, masks, thresholds[:, 1])

    @torch.no_grad()
    def prepare(self, batch: Batch, *, training: bool = True) -> Parted:  # type: ignore[override]
        """As v1's; thresholds are drawn in both cases."""
        conditioned, thresholds = super().prepare(batch, training=training), self._thresholds(batch)
        character = self._character(batch)
        tokens = self.image_encoder.encode(self._ground(batch, thresholds, character), self._tokens).float()
        mask = at_latents(batch.pictures["mask"], conditioned.noised)
        return Parted(conditioned, tokens, thresholds, mask, self._shown(batch, training), character)

    def losses(self, denoiser: Denoiser, conditioned: Parted) -> torch.Tensor:  # type: ignore[override]
        """Mean squared error of each sample, (B,)."""
        v1 = conditioned.v1

        def split(*inputs: torch.Tensor) -> torch.Tensor:
            rest = conditioned.background, conditioned.thresholds, conditioned.mask, conditioned.shown
            return denoiser(*inputs, *rest)

        return super().losses(split, v1)
