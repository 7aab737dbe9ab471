"""The steps that derive one column each, and the recipe that says with what settings.

An operator is a pure function of one row. Its fingerprint covers name, version, settings, weights and the fingerprints
of the columns it reads, so that a changed setting renews the columns that depend on it and no other. Raise `version`
whenever the code's result changes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.buckets import BucketSettings
from dataprep.errors import DataError
from dataprep.filters import FilterSettings
from dataprep.lineart import XDoGSettings, draw_sigma, xdog
from dataprep.pictures import Picture, decode, decode_png, encode_png
from dataprep.regions import RegionSettings, trapped_ball

Gray = npt.NDArray[np.uint8]
ASPECT_TOLERANCE = 0.01  # a drawn sketch of another size still belongs to its picture if its aspect is this close


@dataclass(frozen=True)
class RowInput:
    """What an operator sees of one row: the source bytes, the decoded picture, and the columns it asked for."""

    id: str
    data: bytes
    picture: Picture
    drawn_sketch: bytes | None = None
    mask: bytes | None = None
    columns: Mapping[str, bytes | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Operator:
    """A versioned step that derives `column`; `compute` gives encoded bytes, or None where the row has none."""

    column: str
    name: str
    version: int
    compute: Callable[[RowInput], bytes | None]
    settings: Mapping[str, Any] = field(default_factory=dict)  # JSON-able
    weights: str | None = None  # hash of the network's weights
    inputs: tuple["Operator", ...] = ()

    def describe(self) -> dict[str, Any]:
        """What a snapshot keeps of this operator."""
        known = {"name": self.name, "version": self.version, "settings": dict(self.settings), "weights": self.weights}
        return known | {"inputs": [operator.column for operator in self.inputs], "fingerprint": fingerprint(self)}


def fingerprint(operator: Operator) -> str:
    """12 hex digits that change with everything that may change the operator's result."""
    inputs = [fingerprint(upstream) for upstream in operator.inputs]
    return short_hash([operator.name, operator.version, dict(operator.settings), operator.weights, inputs])


def short_hash(value: Any) -> str:
    """12 hex digits of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class CorpusRecipe:
    """Everything that decides what a corpus holds, but for its sources. `seed` draws `xdog.sigma` for each row."""

    filters: FilterSettings = field(default_factory=FilterSettings)
    xdog: XDoGSettings = field(default_factory=XDoGSettings)
    regions: RegionSettings = field(default_factory=RegionSettings)
    buckets: BucketSettings = field(default_factory=BucketSettings)
    validation_share: float = 0.05
    shard_rows: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.validation_share < 1.0:
            raise ValueError(f"validation_share must be in [0, 1), got {self.validation_share}")
        if self.shard_rows < 1:
            raise ValueError(f"shard_rows must be at least 1, got {self.shard_rows}")


#                   what it is for                         what it changes
CORPUS_RECIPES = {
    "plain": CorpusRecipe(),  # pictures of any kind
    "demo": CorpusRecipe(validation_share=0.15, shard_rows=64),  # few pictures: more of them to score, finer progress
}


def operators(recipe: CorpusRecipe) -> tuple[Operator, ...]:
    """The derived columns of a corpus in an order in which each finds its inputs done."""
    sigma_drawn = {name: value for name, value in asdict(recipe.xdog).items() if name != "sigma"}
    line_art = Operator(
        "sketch_xdog", "xdog-rasc", 1, _XDoG(recipe.xdog, recipe.seed), sigma_drawn | {"seed": recipe.seed}
    )
    drawn = Operator("sketch_drawn", "drawn", 1, _drawn_sketch)
    settings = asdict(recipe.regions)
    regions = Operator("region_map", "trapped-ball", 1, _RegionMap(recipe.regions), settings, inputs=(drawn, line_art))
    return (
        Operator("color", "source-or-png", 1, _color),
        line_art,
        drawn,
        Operator("mask", "alpha", 1, _mask),
        regions,
    )


def gray_of(picture: Picture) -> Gray:
    """Luma (H, W) of a picture over white."""
    return cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _color(row: RowInput) -> bytes:
    """The source's own bytes where they are plain RGB already, so that nothing is stored twice or lost."""
    return row.data if row.picture.source_is_plain_rgb else encode_png(row.picture.rgb)


@dataclass(frozen=True)
class _XDoG:
    settings: XDoGSettings
    seed: int

    def __call__(self, row: RowInput) -> bytes:
        return encode_png(xdog(gray_of(row.picture), replace(self.settings, sigma=draw_sigma(row.id, self.seed))))


def _drawn_sketch(row: RowInput) -> bytes | None:
    """The artist's own line art, at the picture's size."""
    if row.drawn_sketch is None:
        return None
    return encode_png(_fitted(gray_of(decode(row.drawn_sketch)), row.picture.rgb.shape[:2]))


def _mask(row: RowInput) -> bytes | None:
    """The source's own mask, else its alpha channel; a picture without either has no mask yet."""
    if row.mask is not None:
        return row.mask
    return None if row.picture.alpha is None else encode_png(row.picture.alpha)


@dataclass(frozen=True)
class _RegionMap:
    settings: RegionSettings

    def __call__(self, row: RowInput) -> bytes:
        """Trapped-ball regions of the drawn line art where there is one, else of the XDoG lines."""
        sketch = row.columns["sketch_drawn"] or row.columns["sketch_xdog"]
        if sketch is None:
            raise DataError("there is no line art to find regions in")
        return encode_png(trapped_ball(decode_png(sketch), self.settings))


def _fitted(sketch: Gray, size: tuple[int, ...]) -> Gray:
    height, width = size
    if sketch.shape == size:
        return sketch
    if abs(sketch.shape[1] * height / (sketch.shape[0] * width) - 1) > ASPECT_TOLERANCE:
        raise DataError(f"the drawn sketch is {sketch.shape[1]}x{sketch.shape[0]}, the picture {width}x{height}")
    return cv2.resize(sketch, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
