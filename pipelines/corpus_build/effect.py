"""Whether settings that are given by hand change anything: one without effect is refused, and not passed over."""

from collections.abc import Mapping
from typing import Any

from dataprep.errors import DataError
from dataprep.operators.operator import fingerprint
from pipelines.common.overrides import SettingsError, override
from pipelines.extraction.learned_operators import corpus_operators
from pipelines.recipes.build_recipe import BuildRecipe

DERIVED = ("canvas", "xdog", "strokes", "regions", "styles", "learned")  # what these hold decides columns, and no more


def with_effect(base: BuildRecipe, values: Mapping[str, Any]) -> BuildRecipe:
    """`base` with `values` (dotted keys). Raises SettingsError as `override` does, and for a value of DERIVED that
    differs from that of `base` while no column depends on it: stroke settings where no strokes are treated."""
    recipe = override(base, values)
    idle = [key for key in values if key.partition(".")[0] in DERIVED and _is_idle(base, values, key, recipe)]
    if idle:
        raise SettingsError(
            f"{idle[0]}={values[idle[0]]} changes nothing: no column of this recipe depends on it. Leave it out, or "
            "also set what it belongs to"
        )
    return recipe


def _is_idle(base: BuildRecipe, values: Mapping[str, Any], key: str, recipe: BuildRecipe) -> bool:
    try:
        without = override(base, {name: value for name, value in values.items() if name != key})
        return without != recipe and _marks(without) == _marks(recipe)
    except (SettingsError, DataError):
        return False  # the others need it


def _marks(recipe: BuildRecipe) -> dict[str, str]:
    return {operator.column: fingerprint(operator) for operator in corpus_operators(recipe)}
