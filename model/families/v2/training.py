"""What a stage of v2 computes: which parts act on a sample, which are trained, and what they are shown.

"Separating Reference Representations" III.E, thesis 5.6.1. The loss is v1's. What only some phases do (bleaching,
merged masks, parts that act in half of the samples) is drawn for each sample, so that it depends on no other.

Shapes: B batch, C h w latents, N D reference tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from model.backbone.feature_encoder import size_ratios
from model.batch import Batch, Draw, Needs
from model.diffusion.separation import Separation
from model.families.v1.training import NO_SKETCH, Conditioned, Denoiser
from model.families.v2.network import V2, Told
from model.families.v2.pipeline import SeparatePipeline
from model.families.v2.settings import BackboneSettings, V2Settings
from model.families.v15.characters import reference_background
from model.families.v15.training import PartedStage, at_latents
from model.stage import StageContext

EXTENT = "reference_extent"  # dataprep.samples.sample_settings: height and width of what references show
LEAST_WHITE = 0.95  # of a bleached background's reference (released code)


class Separate(NamedTuple):
    """A batch as the network takes it: v1's, and what its parts are told."""

    v1: Conditioned
    told: Told
    character: torch.Tensor | None

    @property
    def timesteps(self) -> torch.Tensor:
        """Of the samples, (B,)."""
        return self.v1.timesteps


class Figures(NamedTuple):
    """What is figure in a batch: the sketch's mask (B, 1, H, W), whether a reference shows a character (B,), whether
    its ground is bleached (B,), and whether its mask is joined with the sketch's (B,), moved by what share of the
    picture's width (B,)."""

    sketch: torch.Tensor
    character: torch.Tensor
    bleached: torch.Tensor
    merged: torch.Tensor
    distance: torch.Tensor

    def of_reference(self, mask: torch.Tensor) -> torch.Tensor:
        """The reference's mask (B, 1, h, w); one without a character has no figure."""
        return mask.to(self.sketch.device) * self.character[:, None, None, None]

    def whitening(self, mask: torch.Tensor) -> torch.Tensor:
        """What whitens a reference with this mask (B, 1, h, w)."""
        own = self.of_reference(mask)
        height, width = own.shape[-2:]
        moved = _moved(F.interpolate(self.sketch, size=(height, width), mode="bilinear", antialias=True), self.distance)
        return torch.where(self.merged[:, None, None, None], torch.maximum(own, moved), own)


class Drawn(NamedTuple):
    """What is drawn for a batch: thresholds (B, 2) of the masks of sketch and reference; figures, None where no part
    reads masks; and the near-white (B, 1, 1, 1) of a bleached background's reference."""

    thresholds: torch.Tensor
    figures: Figures | None
    paper: torch.Tensor


def _moved(masks: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
    """Masks (B, 1, h, w) moved sideways by these shares of their width (B,), those that leave it coming in again."""
    width = masks.shape[-1]
    moved = [mask.roll(int(share * width), dims=-1) for mask, share in zip(masks, distances.tolist(), strict=True)]
    return torch.stack(moved)


class V2Stage(PartedStage):
    """See model.stage.Stage. What is trained is the settings' `role`."""

    model: V2
    settings: V2Settings
    pipeline = SeparatePipeline

    def __init__(self, context: StageContext) -> None:
        super().__init__(context)
        assert isinstance(context.model, V2)
        self.name = context.name
        self.acting, trained = self.settings.role
        self.model.requires_grad_("backbone" in trained)
        # The low-rank updates lie within the backbone's layers, and are a part of their own.
        parts = {"split": self.model.updates, "background": self.model.of_background, "style": self.model.of_style}
        for name, modules in parts.items():
            if name == "split" or name in self.acting:
                for module in modules():
                    module.requires_grad_(name in trained)

    # ---- what a sample must hold ----------------------------------------------------------------------------------

    @property
    def needs(self) -> Needs:
        """v1's, the masks where a part reads them, and the reference at the picture's size where an encoder does."""
        needs = super().needs
        pictures = [name for name in needs.pictures if self._by_masks or name not in ("mask", "reference_mask")]
        if self.acting & {"background", "style"}:
            pictures += ["reference@window", EXTENT]
        if self.acting & {"background"} or (self.acting and self.settings.split_encoders):
            pictures += ["reference_mask@window"]
        return replace(needs, pictures=tuple(pictures), tags=self._by_masks)

    @property
    def _by_masks(self) -> bool:
        """Whether figure and ground are parted."""
        return bool(self.acting & {"split", "background"})

    def draws(self, width: int, height: int) -> Sequence[Draw]:
        """Those of all parted stages first; then what decides of a sample what only some stages do."""
        return (*super().draws(width, height), Draw("separate", "uniform", (5,)))

    # ---- training -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def prepare(self, batch: Batch, *, training: bool = True) -> Separate:  # type: ignore[override]
        """As v1's of the bleached pictures, and what the acting parts are told."""
        drawn, shown = self._drawn(batch, training), self._shown(batch, training)
        if training:
            batch = self._bleached(batch, drawn)
        conditioned = super().prepare(batch, training=training)
        acts = None
        if training and self.settings.phase == "style":
            acts = batch.draws["separate"][:, 4].to(self.device) < self.settings.active_share
        told = self._told(batch, conditioned, drawn, shown, acts)
        return Separate(conditioned, told, None if drawn.figures is None else drawn.figures.character)

    def shows(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """The pictures, bleached where they are, and what the ground is shown: for its tokens and for its latents."""
        drawn = self._drawn(batch, training=True)
        pictures = {name: tensor for name, tensor in self._bleached(batch, drawn).pictures.items() if name != EXTENT}
        for name in ("reference", "reference@window") if drawn.figures is not None else ():
            mask = name.replace("reference", "reference_mask")
            if mask in pictures:
                pictures[name.replace("reference", "ground")] = self._ground(pictures[name], pictures[mask], drawn)
        return pictures

    def _drawn(self, batch: Batch, training: bool) -> Drawn:
        """What is drawn for a batch; in validation nothing is bleached or merged."""
        bleached, merged, distance, white, _ = batch.draws["separate"].to(self.device).float().unbind(1)
        if not training:
            bleached = merged = torch.ones_like(white)
        figures = None
        if self._by_masks:
            figures = Figures(
                batch.pictures["mask"].to(self.device),
                self._character(batch),
                bleached < self.settings.bleached_share,
                merged < self.settings.merged_share,
                distance,
            )
        return Drawn(self._thresholds(batch), figures, LEAST_WHITE + (1 - LEAST_WHITE) * white[:, None, None, None])

    def _dropped(self, context: torch.Tensor, chances: torch.Tensor) -> torch.Tensor:
        """All of it: only the UNet is not shown it (`Told.shown`), the encoders see every reference."""
        return context

    def _bleached(self, batch: Batch, drawn: Drawn) -> Batch:
        """Sketches that are paper outside their figure, and of bleached samples pictures that are white there."""
        if (figures := drawn.figures) is None:
            return batch
        figure = figures.sketch > drawn.thresholds[:, 0, None, None, None]
        changed = dict(batch.pictures)
        if self.settings.blank_sketch:
            changed["sketch"] = torch.where(figure, batch.pictures["sketch"].to(self.device), NO_SKETCH)
        kept = figure | ~figures.bleached[:, None, None, None]
        changed["color"] = torch.where(kept, batch.pictures["color"].to(self.device), 1.0)
        return replace(batch, pictures=changed)

    def _told(
        self,
        batch: Batch,
        conditioned: Conditioned,
        drawn: Drawn,
        shown: torch.Tensor,
        acts: torch.Tensor | None,
    ) -> Told:
        """What the parts are told; in samples in which split attention and background do not act all is figure, whose
        low-rank updates are left out: it is the v1 below."""
        told, pictures = Told(shown), batch.pictures
        if self.acting & {"background", "style"}:
            told = told._replace(ratios=_ratios(pictures).to(self.device))
        if "style" in self.acting:
            told = told._replace(style_latents=self.codec.encode(pictures["reference@window"].to(self.device)))
        if (figures := drawn.figures) is None:
            return told
        thresholds = drawn.thresholds
        ground = self._ground(pictures["reference"], pictures["reference_mask"], drawn)
        told = told._replace(
            background=self.image_encoder.encode(ground, self._tokens).float(),
            mask=at_latents(figures.sketch, conditioned.noised),
            threshold=thresholds[:, 0],
        )
        if acts is not None:
            told = told._replace(mask=torch.where(acts[:, None, None, None], told.mask, 1.0), lora=acts.float())  # type: ignore[arg-type]
        if self.settings.split_encoders:
            own = figures.of_reference(pictures["reference_mask@window"])
            told = told._replace(
                reference_mask=at_latents(own, conditioned.noised), reference_threshold=thresholds[:, 1]
            )
        if "background" in self.acting:
            masks = pictures["reference_mask@window"]
            warped = self._ground(pictures["reference@window"], masks, drawn)
            told = told._replace(background_latents=self.codec.encode(warped))
        return told

    def _ground(self, references: torch.Tensor, masks: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """References (B, 3, h, w) as the background is shown them: their figure in white, or bleached."""
        assert drawn.figures is not None
        whitened = drawn.figures.whitening(masks)
        ground = reference_background(references.to(self.device), whitened, drawn.thresholds[:, 1])
        return torch.where(drawn.figures.bleached[:, None, None, None], drawn.paper, ground)

    def losses(self, denoiser: Denoiser, conditioned: Separate) -> torch.Tensor:  # type: ignore[override]
        """Mean squared error of each sample, (B,)."""

        def separate(*inputs: torch.Tensor) -> torch.Tensor:
            return denoiser(*inputs, conditioned.told)

        return super().losses(separate, conditioned.v1)

    def recorded(self) -> Mapping[str, Any]:
        """As v1's; a phase before the last leaves a checkpoint that is no finished backbone, and says so."""
        settings = self.settings
        unfinished = isinstance(settings, BackboneSettings) and settings.phase not in ("whole", settings.last)
        return {**super().recorded(), **({"stage": f"{self.name}-{settings.phase}"} if unfinished else {})}

    def separation(self, sketches: Batch, references: Batch) -> Separation | None:
        """Masks, where a part reads them."""
        return super().separation(sketches, references) if self._by_masks else None


def _ratios(pictures: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(B, 2): by how much the references are larger than the window."""
    height, width = pictures["color"].shape[-2:]
    sizes = [(int(tall), int(wide)) for tall, wide in pictures[EXTENT].flatten(1).tolist()]
    return size_ratios(sizes, (height, width))
