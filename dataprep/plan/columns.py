"""The derived columns of a recipe: which operators make them, and in which order they are run."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dataprep.errors import DataError
from dataprep.operators.operator import Operator
from dataprep.operators.without_networks import (
    CommonXDoG,
    RegionMap,
    RowsOfStyle,
    XDoG,
    drawn_sketch,
    source_color,
    source_mask,
    stroked,
)
from dataprep.pictures.canvas import CanvasSettings
from dataprep.plan.corpus_recipe import CorpusRecipe


def operators(recipe: CorpusRecipe, learned: Sequence[Operator] = ()) -> tuple[Operator, ...]:
    """The derived columns of a corpus in an order in which each finds its inputs done.

    learned: operators with networks, made by pipelines.extraction.learned_operators; one may take the place of `mask`.
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
    compute = RegionMap(settings, tuple(operator.column for operator in lines))
    name, version = ("patches", 1) if settings.variant == "patches" else ("trapped-ball", 2)
    return Operator("region_map", name, version, compute, settings.described(), inputs=lines, gives="map")


def classical(recipe: CorpusRecipe) -> tuple[Operator, ...]:
    """The operators that read nothing but the row's own picture and take no weights."""
    scaled = bool(recipe.xdog.long_side)  # at their own size, pictures have the sketches of version 0.1
    made = [Operator("color", "source-or-png", 2, source_color, gives="picture")]
    if recipe.styles.is_made("xdog"):
        compute, settings = XDoG(recipe.xdog, recipe.seed), recipe.xdog.described(recipe.seed)
        version = 3 if scaled else 2
        made.append(drawn_for("xdog", recipe, Operator("sketch_xdog", "xdog-rasc", version, compute, settings)))
    if recipe.styles.is_made("xdog_common"):
        drawn, settings = CommonXDoG(recipe.seed, recipe.xdog.long_side), recipe.xdog.size_described()
        settings |= {"seed": recipe.seed}
        common = Operator("sketch_xdog_common", "xdog-common", 2 if scaled else 1, drawn, settings)
        made.append(drawn_for("xdog_common", recipe, common))
    made.append(Operator("sketch_drawn", "drawn", 2, drawn_sketch))
    made.append(Operator("mask", "alpha", 2, source_mask, gives="mask"))
    return tuple(made)


def drawn_for(style: str, recipe: CorpusRecipe, operator: Operator) -> Operator:
    """`operator` for the rows that get `style`; others have null. As it is where all rows get it."""
    shares = recipe.styles.wanted_by(style)
    if recipe.styles.is_everywhere(style):
        return operator
    settings = dict(operator.settings) | {"seed": recipe.seed, "shares": shares}
    return replace(
        operator, compute=RowsOfStyle(style, recipe.styles, recipe.seed, operator.compute), settings=settings
    )


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
