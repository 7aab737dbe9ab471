"""What a stage asks of its samples: which pictures, at which sizes, how they are cut; a plain value without defaults
of a family.

A picture is asked for by name. `sketch`, `color`, `mask` and `region_map` share the sample's window. References are
squashed: `reference` to the square of `reference_size`, `reference@448` to one of 448 pixels, `reference@window` to the
sample's own width and height (for a network that takes latents of it). So are all names of REFERENCES.
`reference_extent` is no picture: it says how large what references show is.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from dataprep.samples.deformation import FULL, DeformationSettings

V1_PICTURES = ("sketch", "color", "reference")
# Channels of each picture. `deformed_reference` is the row's own picture bent (dataprep.samples.deformation);
# `second_reference` is of the second row that `training_sample` is given.
WINDOWED = {"sketch": 3, "color": 3, "mask": 1, "region_map": 1}
REFERENCES = {
    "reference": 3,
    "reference_mask": 1,
    "deformed_reference": 3,
    "second_reference": 3,
    "second_reference_mask": 1,
}
# Of what the row's references show: its height and width in pixels, before it is squashed.
EXTENT = "reference_extent"
ReferenceCrop = Literal["whole", "joint", "separate"]


@dataclass(frozen=True)
class SampleSettings:
    """How a row becomes a sample. Sizes in pixels; the defaults of the ranges are the paper's (thesis 3.2).

    `reference_crop`: references show the whole picture (thesis 3.2), the window that sketch and colour share ("joint"),
    or a window of their own, rescaled and placed by numbers of its own ("separate"). A second reference has no part in
    the sample's window, so "joint" cuts it as "separate" does.

    `styles`: drawn evenly among those that the row has. `simplified`: what a sketch that a network has reworked
    (`operators.styles.REWORKED`) is to its row: one style "among" the others, or shown "instead" of them. Where 30 % of
    the rows have one, that makes 30 % of the samples, as thesis 3.2 has it.

    `recolored` and `palette_references` are of assembled drawings alone, whose right colours are known whatever they
    are (`dataprep.pictures.assembled`), and ours: the share of them that is shown in colours drawn anew, and the share
    whose reference is another drawing in this one's colours, as a user's reference is, in the place of the own picture,
    where that drawing shows all that this one has: of a hat that the reference lacks no colour would be right.
    """

    width: int = 128
    height: int = 128
    rescale_max: float = 1.3  # isotropic rescale ~ U(1, rescale_max), where 1 just covers the window
    sketch_crop_max: float = 0.15  # share of the window blanked at each side of the sketch ~ U(0, sketch_crop_max)
    styles: tuple[str, ...] = ("drawn", "xdog")
    simplified: Literal["among", "instead"] = "among"
    reference_size: int = 224  # the reference is squashed to this square
    pictures: tuple[str, ...] = V1_PICTURES
    reference_crop: ReferenceCrop = "whole"
    tags: bool = False  # the sample carries the row's tags
    deformation: DeformationSettings = FULL  # of `deformed_reference`
    recolored: float = 0.0
    palette_references: float = 0.0

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.reference_size) < 1:
            raise ValueError("width, height and reference_size must be at least 1")
        if self.rescale_max < 1.0:
            raise ValueError(f"rescale_max must be at least 1, got {self.rescale_max}")
        if not 0.0 <= self.sketch_crop_max < 0.5:
            raise ValueError(f"sketch_crop_max must be in [0, 0.5), got {self.sketch_crop_max}")
        if not self.styles:
            raise ValueError("styles must name at least one sketch style")
        if self.reference_crop not in get_args(ReferenceCrop):
            raise ValueError(
                f"reference_crop is one of {', '.join(get_args(ReferenceCrop))}, not {self.reference_crop!r}"
            )
        for name in self.pictures:
            _check_name(name)
        for name, share in (("recolored", self.recolored), ("palette_references", self.palette_references)):
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {share}")
        if self.palette_references and self.asks_for("second_reference", "second_reference_mask"):
            raise ValueError("palette_references takes the place of a second row, which these pictures ask for")

    def asks_for(self, *kinds: str) -> bool:
        """Whether any of the pictures, whatever its size, is of one of these kinds."""
        return any(kind_of(name) in kinds for name in self.pictures)

    def needs_second(self) -> bool:
        """Whether a sample needs a second row."""
        return self.asks_for("second_reference", "second_reference_mask")

    def draws_assembled(self) -> bool:
        """Whether training samples draw assembled pictures anew, and so need the rows' facts."""
        return bool(self.recolored or self.palette_references)

    def columns(self) -> tuple[str, ...]:
        """The corpus columns that samples are made of; tags stand in the row itself (`CorpusReader`'s `facts`)."""
        sketches = tuple(f"sketch_{style}" for style in self.styles) if self.asks_for("sketch") else ()
        masks = ("mask",) if self.asks_for("mask", "reference_mask", "second_reference_mask") else ()
        return ("color", *sketches, *masks, *(("region_map",) if self.asks_for("region_map") else ()))

    def size_of(self, name: str) -> tuple[int, int]:
        """(width, height) of a picture, in pixels."""
        kind, _, size = name.partition("@")
        if kind == EXTENT:
            return 1, 1
        if kind in WINDOWED or size == "window":
            return self.width, self.height
        side = int(size) if size else self.reference_size
        return side, side

    def shape_of(self, name: str) -> tuple[int, int, int]:
        """(channels, height, width) of a picture."""
        width, height = self.size_of(name)
        return (WINDOWED | REFERENCES | {EXTENT: 2})[kind_of(name)], height, width

    def largest(self, *kinds: str) -> tuple[int, int]:
        """The least (width, height) that covers every picture asked for of these kinds; (1, 1) where there is none."""
        sizes = [self.size_of(name) for name in self.pictures if kind_of(name) in kinds]
        return max((width for width, _ in sizes), default=1), max((height for _, height in sizes), default=1)


def kind_of(name: str) -> str:
    """A picture's name without its size."""
    return name.partition("@")[0]


def dtype_of(name: str) -> npt.DTypeLike:
    """What a picture's values are: float32, labels int32."""
    return np.int32 if kind_of(name) == "region_map" else np.float32


def _check_name(name: str) -> None:
    kind, at, size = name.partition("@")
    kinds = (*WINDOWED, *REFERENCES, EXTENT)
    if kind not in kinds:
        raise ValueError(f"pictures are of the kinds {', '.join(kinds)}, not {kind!r}")
    if at and kind == EXTENT:
        raise ValueError(f"pictures: {kind} has no size, {name!r} names one")
    if at and kind in WINDOWED:
        raise ValueError(f"pictures: {kind} has the size of the window, {name!r} names another")
    if at and size != "window" and not (size.isdecimal() and int(size) > 0):
        raise ValueError(f"pictures: the size in {name!r} is a side in pixels or 'window'")
