"""What parts figure from ground in the pictures of a call: which masks they need, and what these show.

A network that keeps both apart reads a mask of the sketch, one of the reference unless nothing asks what is its figure,
and may be given a background of its own. Each mask is of one role, picture and file: a picture may be sketch and
reference at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from dataprep.errors import DataError
from dataprep.samples.sample import from_model_image
from dataprep.storage.store import read_bytes
from model.checkpoint import CheckpointMetadata
from model.diffusion.separation import Separation, without_figure
from model.families.registry import family
from pipelines.colorization.jobs import MASKS, ColorizeJob
from pipelines.colorization.masks import MaskFinder, hash_of, unit_mask
from pipelines.colorization.picture_settings import PARTED_SETTINGS, PictureSettings
from pipelines.colorization.provenance import Source, sha256_of
from pipelines.colorization.roles import BACKGROUND, REFERENCE, REFERENCE_MASK, SKETCH_MASK
from pipelines.colorization.run_settings import RunSettings
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.weights.controls import check_own_controls, check_read, refuse


class MaskOf(NamedTuple):
    """A mask: what it is for, the address of its picture, and that of its file where one gives it."""

    role: str
    picture: str
    file: str | None = None


class Side(NamedTuple):
    """A sketch or a reference with what parts it: its mask, a background instead of its own, and that one's mask."""

    picture: str
    mask: MaskOf | None = None
    background: str | None = None
    background_mask: MaskOf | None = None


class Pair(NamedTuple):
    """A sketch and its reference."""

    sketch: Side
    reference: Side | None


@dataclass(frozen=True)
class Masks:
    """The masks of a block of jobs, uint8 (H, W), and their `hash_of`; why those in `broken` are not there; the sources
    of the files that give one."""

    found: dict[MaskOf, np.ndarray] = field(default_factory=dict)
    hashes: dict[MaskOf, str] = field(default_factory=dict)
    broken: dict[MaskOf, str] = field(default_factory=dict)
    files: dict[str, Source] = field(default_factory=dict)


class Parting:
    """How a checkpoint, with the settings of a call, parts figure from ground.

    acts: whether its mode reads anything that does, `reads` (model.families.family.Family.modes).

    Raises PipelineError for settings that it has no use for, and for a network that the weight store lacks.
    """

    def __init__(
        self,
        address: str,
        metadata: CheckpointMetadata,
        settings: PictureSettings,
        run: RunSettings,
        device: torch.device,
    ) -> None:
        self._address, self._metadata, self.settings, self._run = address, metadata, settings, run
        found = family(metadata.family)
        self._able = bool(found.controls)
        self._mode = settings.sampling.mode or found.usual_mode(metadata.network)
        self.reads = found.reads(settings.sampling.mode, metadata.network)
        self.acts = bool(self.reads)
        self._parts = "sketch_mask" in self.reads
        # Where ground or figure are taken away a threshold says where they begin, whatever the mode reads.
        also = {"sketch_threshold"} if self.acts and settings.remove_background else set()
        also |= {"reference_threshold"} if self.acts and settings.remove_foreground else set()
        check_own_controls(address, metadata, settings.sampling, frozenset(also))
        self._refuse(self._unread())
        self._finder = MaskFinder(settings, device) if self.acts else None

    def _unread(self) -> list[str]:
        """Settings that are set and that nothing reads."""
        settings, usual = self.settings, PictureSettings()
        reads = {
            "sketch_mask_by": self._parts or (self.acts and settings.remove_background),
            "reference_mask_by": self._parts or (self.acts and settings.remove_foreground),
        }
        names = [name for name in PARTED_SETTINGS if getattr(settings, name) != getattr(usual, name)]
        return [name for name in names if not reads.get(name, self.acts)] + (
            ["masks"] if self._run.masks and not self.acts else []
        )

    def check(self, jobs: Sequence[ColorizeJob]) -> None:
        """PipelineError for roles of references that there is no use for."""
        given = {role for job in jobs for role in job.references}
        useful = {
            REFERENCE,
            *({SKETCH_MASK} if self._parts or (self.acts and self.settings.remove_background) else ()),
            *({REFERENCE_MASK} if self._parts else ()),
            *({BACKGROUND} if "background" in self.reads else ()),
        }
        self._refuse(sorted(given - useful))
        blends, scale = self.acts and not self._parts, self.settings.sampling.merging_scale
        if blends and (BACKGROUND in given) != (scale > 0):
            raise PipelineError(
                f"mode={self._mode} blends the style of a background in by the merging scale: "
                + ("that is 0, give --merging-scale" if BACKGROUND in given else "there is none, give --background")
            )
        if self.settings.remove_foreground and BACKGROUND not in given:
            raise PipelineError("remove_foreground is of a background, and none is given: --background")

    def _refuse(self, names: list[str]) -> None:
        if self._able:
            check_read(self._mode, names)
        refuse(self._address, self._metadata, names, parting=True)

    # ---- what a picture needs -------------------------------------------------------------------------------------

    def wanted(self, job: ColorizeJob) -> dict[str, MaskOf]:
        """The masks that decide a picture, by role."""
        reference, ground = job.references.get(REFERENCE), job.references.get(BACKGROUND)
        if not self.acts or (reference is None and not self.settings.remove_background):
            return {}
        found, sampling, parts = dict[str, MaskOf](), self.settings.sampling, self._parts
        if parts or self.settings.remove_background:
            found[SKETCH_MASK] = MaskOf(SKETCH_MASK, job.sketch, job.references.get(SKETCH_MASK))
        shows_own_ground = ground is None and "reference_mask" in self.reads
        if reference is not None and (shows_own_ground or (parts and sampling.injection is not None)):
            found[REFERENCE_MASK] = MaskOf(REFERENCE_MASK, reference, job.references.get(REFERENCE_MASK))
        if ground is not None and self.settings.remove_foreground:
            found[BACKGROUND] = MaskOf(BACKGROUND, ground)
        return found

    def pair(self, job: ColorizeJob) -> Pair:
        """The job's sketch and reference, with what parts them."""
        wanted, reference = self.wanted(job), job.references.get(REFERENCE)
        ground = job.references.get(BACKGROUND)
        shown = None
        if reference is not None:
            shown = Side(reference, wanted.get(REFERENCE_MASK), ground, wanted.get(BACKGROUND))
        return Pair(Side(job.sketch, wanted.get(SKETCH_MASK)), shown)

    def read(self, jobs: Sequence[ColorizeJob], grays: Mapping[str, np.ndarray], broken: dict[str, str]) -> Masks:
        """The masks of the jobs whose pictures are not among `broken`; grays: the line art of each sketch.

        Files of masks that cannot be read come to `broken` too.
        """
        masks, contents = Masks(), dict[str, bytes]()
        given = (job.references.get(role) for job in jobs for role in (SKETCH_MASK, REFERENCE_MASK))
        for file in dict.fromkeys(address for address in given if address is not None):
            try:
                contents[file] = read_bytes(file)
            except DataError as error:
                broken[file] = str(error)
            else:  # recorded, also where nothing has to look at it
                masks.files[file] = Source(absolute(file), sha256_of(contents[file]))
        for wanted in dict.fromkeys(mask for job in jobs for mask in self.wanted(job).values()):
            if wanted.picture not in broken and wanted.file not in broken:
                self._find(wanted, grays, contents, masks)
        return masks

    def _find(
        self, wanted: MaskOf, grays: Mapping[str, np.ndarray], contents: Mapping[str, bytes], masks: Masks
    ) -> None:
        assert self._finder is not None
        file = None if wanted.file is None else contents[wanted.file]
        try:
            if wanted.role == SKETCH_MASK:
                found = self._finder.of_sketch(partial(read_bytes, wanted.picture), grays[wanted.picture], file)
            else:
                found = self._finder.of_reference(read_bytes(wanted.picture), file, wanted.role)
        except DataError as error:
            address, message = wanted.file or wanted.picture, str(error)
            of = f" ({wanted.picture})" if wanted.file else ""
            masks.broken[wanted] = message if address in message else f"{address}: {message}{of}"
        else:
            masks.found[wanted], masks.hashes[wanted] = found, hash_of(found)

    def hashes(self, job: ColorizeJob, masks: Masks) -> dict[str, str]:
        """Of the masks that decide a picture, by role."""
        return {role: masks.hashes[mask] for role, mask in self.wanted(job).items()}

    # ---- what the network and the picture get ---------------------------------------------------------------------

    def separation(
        self,
        sketches: Sequence[Side],
        sizes: Sequence[tuple[int, int]],
        references: Sequence[Side],
        pictures: Mapping[str, torch.Tensor],
        masks: Masks,
    ) -> Separation | None:
        """Of sketches with the (width, height) that the network sees, and references; None where nothing parts them."""
        if not self.acts or not references:
            return None
        of_sketches = []
        if self._parts:
            of_sketches = [self.fitted(side, size, masks) for side, size in zip(sketches, sizes, strict=True)]
        of_references = [None if side.mask is None else unit_mask(masks.found[side.mask]) for side in references]
        grounds = [None if side.background is None else self.ground(side, pictures, masks) for side in references]
        return Separation(of_sketches, of_references, grounds)

    def fitted(self, sketch: Side, size: tuple[int, int], masks: Masks) -> torch.Tensor:
        """A sketch's mask at that (width, height), (1, h, w) in [0, 1]."""
        assert sketch.mask is not None
        return unit_mask(masks.found[sketch.mask], size)

    def ground(self, side: Side, pictures: Mapping[str, torch.Tensor], masks: Masks) -> torch.Tensor:
        """The picture (3, h, w) that the ground is shown: a reference's own with its figure in white, or another."""
        picture = pictures[side.background or side.picture]
        mask = side.mask if side.background is None else side.background_mask
        if mask is None:
            return picture
        return without_figure(picture, unit_mask(masks.found[mask]), self.settings.sampling.reference_threshold)

    def names(self, job: ColorizeJob) -> tuple[str, ...]:
        """Which of MASKS are written beside a picture."""
        if not (self._run.masks and self.acts and REFERENCE in job.references):
            return ()
        wanted = self.wanted(job)
        ground = BACKGROUND in job.references or self._parts
        shown = (SKETCH_MASK in wanted, REFERENCE_MASK in wanted, ground and "background" in self.reads)
        return tuple(name for name, there in zip(MASKS, shown, strict=True) if there)

    def files(self, job: ColorizeJob, pictures: Mapping[str, torch.Tensor], masks: Masks) -> dict[str, np.ndarray]:
        """These, as pictures."""
        sketch, reference = self.pair(job)
        found: dict[str, np.ndarray] = {}
        for name in self.names(job):
            assert reference is not None
            mask = sketch.mask if name == MASKS[0] else reference.mask
            if name == MASKS[2]:
                found[name] = from_model_image(self.ground(reference, pictures, masks).numpy())
            else:
                assert mask is not None
                found[name] = masks.found[mask]
        return found

    def without_ground(self, color: np.ndarray, job: ColorizeJob, masks: Masks) -> np.ndarray:
        """A result, uint8 (h, w, 3), with what is no figure painted white where the settings have it so."""
        if not (self.settings.remove_background and self.acts):
            return color
        height, width = color.shape[:2]
        figure = self.fitted(self.pair(job).sketch, (width, height), masks)[0].numpy()
        return np.where(figure[..., None] > self.settings.sampling.sketch_threshold, color, np.uint8(255))
