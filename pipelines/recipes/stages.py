"""The stages of every registered family, and their recipes by name and model size.

The tables stand in the families' own folders (`model/families/<name>/recipes.py`), as plain data; here they become
checked settings.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from model.families.family import Family
from model.families.registry import all_families, families, family, family_of
from pipelines.common.overrides import SettingsError, nearest
from pipelines.recipes.stage_recipe import StageRecipe


def stage_names() -> list[str]:
    """Every stage of every registered family, families in their order."""
    return [stage for found in all_families() for stage in found.stages]


def stage_recipe(stage: str, model_size: str = "tiny") -> StageRecipe:
    """The recipe of `stage` at `model_size`. Raises SettingsError that names the nearest valid ones."""
    known = family(family_of(stage)) if family_of(stage) in families() else None
    if known is None or stage not in known.stages:
        raise SettingsError(f"there is no stage {stage!r}: {nearest(stage, stage_names())}")
    table = known.recipes[stage]
    if model_size not in table:
        raise SettingsError(f"there is no model size {model_size!r}: {nearest(model_size, table)}")
    return composed(known, stage, model_size, table[model_size])


def composed(known: Family, stage: str, model_size: str, values: Mapping[str, Any]) -> StageRecipe:
    """The recipe that a family's table has at one place. Raises SettingsError where a setting does not fit."""
    return _composed(known.name, stage, model_size, _hashable(values))


@lru_cache(maxsize=256)
def _composed(name: str, stage: str, model_size: str, values: tuple[tuple[str, Any], ...]) -> StageRecipe:
    given = dict(values)
    parent = given.pop("parent_stage", None)
    method = family(name).stages[stage].settings()
    fresh = StageRecipe(stage=stage, family=name, model_size=model_size, parent_stage=parent, method=method)
    return fresh.changed(**given)


def _hashable(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in values.items()))
