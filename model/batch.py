"""What a stage is fed: pictures and random draws by name, both as tensors, and what it asks for of each.

Draws are pure functions of (seed, ordinal): one worker or sixteen, a run that was killed and one that was not, draw the
same numbers for the same sample. A stage lists its draws in order; new ones come behind those that exist, so that the
numbers of earlier stages do not move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch


@dataclass(frozen=True, eq=False)
class Batch:
    """One micro-batch of B samples.

    pictures: name -> (B, ...) float32; colours in [-1, 1], sketches with background -1 and lines +1, masks in [0, 1],
    region maps of labels. draws: name -> (B, ...) as the stage's `draws` say. tags: of each sample, where asked for.
    """

    pictures: Mapping[str, torch.Tensor]
    draws: Mapping[str, torch.Tensor]
    tags: Sequence[Sequence[str]] = ()

    @property
    def size(self) -> int:
        """B, the number of samples."""
        return len(next(iter(self.pictures.values())))


@dataclass(frozen=True)
class Draw:
    """One named random number, or array of them, of each sample.

    "integers": int64 in [0, below); "uniform": float64 in [0, 1); "normal": float32, standard.
    """

    name: str
    kind: Literal["integers", "uniform", "normal"]
    shape: tuple[int, ...] = ()
    below: int = 0  # of integers


@dataclass(frozen=True)
class Strata:
    """Validation takes each sample once for each of `ranges`, with the integer draw `draw` from [low, high)."""

    draw: str
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a stage needs of each sample; the names are those of dataprep.samples.sample_settings.

    pictures: "sketch", "color", "mask", "region_map" in the sample's window, and references, squashed to the square of
    reference_size or to a size of their own ("reference@448", "reference@window"), also of a second row
    ("second_reference"). reference_crop: what references show: the "whole" picture, the window that sketch and colour
    share ("joint"), or a window of their own ("separate"). second_row: "any" other, or another of the row's group.
    tags: the row's tags. deformation: settings of "deformed_reference" by name, where they are not the thesis's.
    strata: how validation samples are taken.
    """

    reference_size: int
    pictures: tuple[str, ...] = ("sketch", "color", "reference")
    reference_crop: Literal["whole", "joint", "separate"] = "whole"
    second_row: Literal["any", "group"] = "any"
    tags: bool = False
    deformation: Mapping[str, Any] = field(default_factory=dict)
    strata: Strata | None = None
