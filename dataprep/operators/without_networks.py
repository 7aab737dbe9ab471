"""The operators that take no weights, and the order in which the operators of a recipe are run."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from dataprep.errors import DataError
from dataprep.faults import Fault
from dataprep.lines.region_map import RegionSettings, region_map
from dataprep.lines.strokes import stroked
from dataprep.lines.xdog import XDoGSettings, draw_common, draw_sigma, xdog
from dataprep.operators.operator import Operator, RowInput, Value
from dataprep.operators.styles import StyleSettings, has_style
from dataprep.pictures.canvas import CanvasSettings
from dataprep.pictures.decode import Picture, decode, decode_png
from dataprep.plan.corpus_recipe import CorpusRecipe

Gray = npt.NDArray[np.uint8]
ASPECT_TOLERANCE = 0.01  # a drawn sketch of another size still belongs to its picture if its aspect is this close


def operators(recipe: CorpusRecipe, learned: Sequence[Operator] = ()) -> tuple[Operator, ...]:
    """The derived columns of a corpus in an order in which each finds its inputs done.

    learned: operators with networks, made by pipelines.extractors; one of them may take the place of `mask`.
    """
    by_column = {operator.column: operator for operator in (*classical(recipe), *learned)}
    for style in recipe.strokes.styles:
        column = f"sketch_{style}"
        if column not in by_column:
            raise DataError(f"strokes.styles names {style}, which this recipe does not make.")
        by_column[column] = stroked(by_column[column], recipe.strokes)
    if recipe.regions.lines:
        by_column["region_map"] = _regions(recipe, by_column)
    return _as_made(_with_extra(tuple(by_column.values()), recipe), recipe.canvas)


def _as_made(own: Sequence[Operator], canvas: CanvasSettings) -> tuple[Operator, ...]:
    """The operators whose settings say on which canvas pictures lie, and whose inputs are what they are in the end."""
    by_column: dict[str, Operator] = {}
    for operator in own:
        inputs = tuple(by_column.get(needed.column, needed) for needed in operator.inputs)
        by_column[operator.column] = replace(
            operator, inputs=inputs, settings={**operator.settings, **canvas.described()}
        )
    return tuple(by_column.values())


def _regions(recipe: CorpusRecipe, made: Mapping[str, Operator]) -> Operator:
    """Regions of the line arts that are asked for. Raises DataError where one is not made, or rows would have none."""
    settings = recipe.regions
    if absent := [style for style in settings.lines if f"sketch_{style}" not in made]:
        raise DataError(
            f"regions.lines names {absent[0]}, which this recipe does not make: give styles.{absent[0]} a share, or "
            "set regions.lines to what is made (empty for no region maps)."
        )
    drawn = [style for style in settings.lines if style != "drawn"]  # rows either have it or not
    if drawn and not any(map(recipe.styles.is_everywhere, drawn)):
        raise DataError(
            f"regions.lines: not every row gets {' or '.join(drawn)}, so some would have no regions. Give one of them "
            "the share 1, or set regions.lines to a style that has it (empty for no region maps)."
        )
    lines = tuple(made[f"sketch_{style}"] for style in settings.lines)
    compute = _RegionMap(settings, tuple(operator.column for operator in lines))
    name, version = ("patches", 1) if settings.variant == "patches" else ("trapped-ball", 2)
    return Operator("region_map", name, version, compute, settings.described(), inputs=lines, gives="map")


def classical(recipe: CorpusRecipe) -> tuple[Operator, ...]:
    """The operators that read nothing but the row's own picture and take no weights."""
    sigma_drawn = {name: value for name, value in asdict(recipe.xdog).items() if name != "sigma"}
    seeded = {"seed": recipe.seed}
    made = [Operator("color", "source-or-png", 2, _color, gives="picture")]
    if recipe.styles.is_made("xdog"):
        compute, settings = _XDoG(recipe.xdog, recipe.seed), sigma_drawn | seeded
        made.append(drawn_for("xdog", recipe, Operator("sketch_xdog", "xdog-rasc", 2, compute, settings)))
    if recipe.styles.is_made("xdog_common"):
        common = Operator("sketch_xdog_common", "xdog-common", 1, _CommonXDoG(recipe.seed), seeded)
        made.append(drawn_for("xdog_common", recipe, common))
    made.append(Operator("sketch_drawn", "drawn", 2, _drawn_sketch))
    made.append(Operator("mask", "alpha", 2, source_mask, gives="mask"))
    return tuple(made)


def drawn_for(style: str, recipe: CorpusRecipe, operator: Operator) -> Operator:
    """`operator` for the rows that get `style`; others have null. As it is where all rows get it."""
    shares = recipe.styles.wanted_by(style)
    if recipe.styles.is_everywhere(style):
        return operator
    settings = dict(operator.settings) | {"seed": recipe.seed, "shares": shares}
    return replace(operator, compute=_Drawn(style, recipe.styles, recipe.seed, operator.compute), settings=settings)


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
class _Drawn:
    """`compute` for the rows that get the style."""

    style: str
    styles: StyleSettings
    seed: int
    compute: Callable[[RowInput], Value]

    def __call__(self, row: RowInput) -> Value:
        return self.compute(row) if has_style(row.id, self.seed, self.style, self.styles) else None


@dataclass(frozen=True)
class _CommonXDoG:
    seed: int

    def __call__(self, row: RowInput) -> Value:
        """One of the settings that line-art colorization repositories share, drawn for the row."""
        return xdog(gray_of(row.picture), draw_common(row.id, self.seed))


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
    gray = _fitted(gray_of(decode(row.drawn_sketch)), row, "drawn sketch")
    return gray if row.placement is None else row.placement.sketch(gray)


def source_mask(row: RowInput) -> Value:
    """The source's own mask at the picture's size, else its alpha; a picture without either has no mask yet."""
    if row.mask is None:
        return row.picture.alpha
    gray = _fitted(gray_of(decode(row.mask)), row, "mask")
    return gray if row.placement is None else row.placement.mask(gray)


@dataclass(frozen=True)
class _RegionMap:
    settings: RegionSettings
    lines: tuple[str, ...]  # columns

    def __call__(self, row: RowInput) -> Value:
        """The regions of the first of the line arts that the row has."""
        sketch = next((sketch for column in self.lines if (sketch := row.columns[column])), None)
        if sketch is None:
            raise DataError("there is no line art to find regions in")
        return region_map(decode_png(sketch), self.settings)


def _fitted(gray: Gray, row: RowInput, what: str) -> Gray:
    """`gray` at the source picture's (height, width), where its aspect is the picture's."""
    height, width = row.picture.rgb.shape[:2] if row.placement is None else row.placement.source
    if gray.shape == (height, width):
        return gray
    if abs(gray.shape[1] * height / (gray.shape[0] * width) - 1) > ASPECT_TOLERANCE:
        raise Fault("wrong-size", f"the {what} is {gray.shape[1]}x{gray.shape[0]}, the picture {width}x{height}")
    return cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
