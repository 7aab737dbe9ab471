"""The steps that derive one column each, and the recipe that says with what settings.

An operator is a pure function of one row. Its fingerprint covers name, version, settings, weights and the fingerprints
of the columns it reads, so that a changed setting renews the columns that depend on it and no other. Raise `version`
whenever the code's result changes. A recipe may name operators of other modules beside the ones here
(`CorpusRecipe.extra_operators`); workers import them by that name.
"""

import hashlib
import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.buckets import BucketSettings
from dataprep.errors import DataError
from dataprep.faults import Fault
from dataprep.filters import FilterSettings
from dataprep.guard import LimitSettings
from dataprep.lineart import XDoGSettings, draw_sigma, xdog
from dataprep.outputs import KINDS, finished
from dataprep.pictures import Picture, decode, decode_png
from dataprep.regions import RegionSettings, trapped_ball
from dataprep.sources.selection import Selection

Gray = npt.NDArray[np.uint8]
Value = bytes | npt.NDArray[Any] | None
_COLUMN = re.compile(r"[a-z][a-z0-9_]*")
_DOTTED = re.compile(r"[\w.]+:\w+")
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
    """A versioned step that derives `column`; `compute` gives a PNG or an array (dataprep.outputs), or None."""

    column: str
    name: str
    version: int
    compute: Callable[[RowInput], Value]
    settings: Mapping[str, Any] = field(default_factory=dict)  # JSON-able
    weights: str | None = None  # hash of the network's weights
    inputs: tuple["Operator", ...] = ()
    gives: str = "sketch"  # one of dataprep.outputs.KINDS

    def __post_init__(self) -> None:
        if not _COLUMN.fullmatch(self.column):
            raise ValueError(f"{self.column!r} is no name for a column: lower case letters, digits and _")
        if self.gives not in KINDS:
            raise ValueError(f"operator {self.name} gives {self.gives!r}, which is none of {', '.join(KINDS)}")

    def value(self, row: RowInput) -> bytes | None:
        """The column's value for `row`: computed, held against `gives` and the picture's size, and encoded.

        Raises Fault where it is not what was declared, and whatever `compute` raises.
        """
        given = self.compute(row)
        if given is row.data:
            return row.data  # the source's own bytes, which the scan has decoded
        height, width = row.picture.rgb.shape[:2]
        return finished(given, self.gives, (height, width))

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
    """Everything that decides what a corpus holds, but for its sources. `seed` draws `xdog.sigma` for each row.

    extra_operators: "module:function", each a function (recipe, operators so far by column) -> Operator.
    """

    select: Selection = field(default_factory=Selection)
    filters: FilterSettings = field(default_factory=FilterSettings)
    xdog: XDoGSettings = field(default_factory=XDoGSettings)
    regions: RegionSettings = field(default_factory=RegionSettings)
    buckets: BucketSettings = field(default_factory=BucketSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    extra_operators: tuple[str, ...] = ()
    validation_share: float = 0.05
    shard_rows: int = 256
    batch_rows: int = 256  # buckets of a split with fewer rows than this, one global batch, are reported
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.validation_share < 1.0:
            raise ValueError(f"validation_share must be in [0, 1), got {self.validation_share}")
        for name in ("shard_rows", "batch_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in self.extra_operators:
            if not _DOTTED.fullmatch(name):
                raise ValueError(f"extra operator {name!r} is not of the form module:function")


#                   what it is for                         what it changes
CORPUS_RECIPES = {
    "plain": CorpusRecipe(),  # pictures of any kind
    # few pictures: more of them to score, finer progress, small batches
    "demo": CorpusRecipe(validation_share=0.15, shard_rows=64, batch_rows=16),
}


def operators(recipe: CorpusRecipe) -> tuple[Operator, ...]:
    """The derived columns of a corpus in an order in which each finds its inputs done."""
    sigma_drawn = {name: value for name, value in asdict(recipe.xdog).items() if name != "sigma"}
    line_art = Operator(
        "sketch_xdog",
        "xdog-rasc",
        2,
        _XDoG(recipe.xdog, recipe.seed),
        settings=sigma_drawn | {"seed": recipe.seed},
    )
    drawn = Operator("sketch_drawn", "drawn", 2, _drawn_sketch)
    settings = asdict(recipe.regions)
    regions = Operator(
        "region_map", "trapped-ball", 2, _RegionMap(recipe.regions), settings, inputs=(drawn, line_art), gives="map"
    )
    own = (
        Operator("color", "source-or-png", 2, _color, gives="picture"),
        line_art,
        drawn,
        Operator("mask", "alpha", 2, _mask, gives="mask"),
        regions,
    )
    return _with_extra(own, recipe)


def _with_extra(own: tuple[Operator, ...], recipe: CorpusRecipe) -> tuple[Operator, ...]:
    """The operators and those that the recipe names. Raises DataError where one cannot be had."""
    by_column = {operator.column: operator for operator in own}
    for name in recipe.extra_operators:
        module, _, function = name.partition(":")
        try:
            operator: Operator = getattr(importlib.import_module(module), function)(recipe, dict(by_column))
        except (ImportError, AttributeError) as error:
            raise DataError(f"extra operator {name}: {error}. Is its module on the path of every worker?") from error
        if operator.column in by_column or operator.column in ("row", "id", "error"):
            raise DataError(f"extra operator {name}: there is a column {operator.column} already.")
        by_column[operator.column] = operator
    return tuple(by_column.values())


def gray_of(picture: Picture) -> Gray:
    """Luma (H, W) of a picture over white."""
    return cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _color(row: RowInput) -> Value:
    """The source's own bytes where they are plain RGB already, so that nothing is stored twice or lost."""
    return row.data if row.picture.source_is_plain_rgb else row.picture.rgb


@dataclass(frozen=True)
class _XDoG:
    settings: XDoGSettings
    seed: int

    def __call__(self, row: RowInput) -> Value:
        return xdog(gray_of(row.picture), replace(self.settings, sigma=draw_sigma(row.id, self.seed)))


def _drawn_sketch(row: RowInput) -> Value:
    """The artist's own line art, at the picture's size."""
    if row.drawn_sketch is None:
        return None
    return _fitted(gray_of(decode(row.drawn_sketch)), row.picture.rgb.shape[:2], "drawn sketch")


def _mask(row: RowInput) -> Value:
    """The source's own mask at the picture's size, else its alpha; a picture without either has no mask yet."""
    if row.mask is None:
        return row.picture.alpha
    return _fitted(gray_of(decode(row.mask)), row.picture.rgb.shape[:2], "mask")


@dataclass(frozen=True)
class _RegionMap:
    settings: RegionSettings

    def __call__(self, row: RowInput) -> Value:
        """Trapped-ball regions of the drawn line art where there is one, else of the XDoG lines."""
        sketch = row.columns["sketch_drawn"] or row.columns["sketch_xdog"]
        if sketch is None:
            raise DataError("there is no line art to find regions in")
        return trapped_ball(decode_png(sketch), self.settings)


def _fitted(gray: Gray, size: tuple[int, ...], what: str) -> Gray:
    """`gray` at the picture's (height, width), where its aspect is the picture's."""
    height, width = size
    if gray.shape == size:
        return gray
    if abs(gray.shape[1] * height / (gray.shape[0] * width) - 1) > ASPECT_TOLERANCE:
        raise Fault("wrong-size", f"the {what} is {gray.shape[1]}x{gray.shape[0]}, the picture {width}x{height}")
    return cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
