"""Recipes of corpora as a call names them: by name, or by a YAML file of what differs from a recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.common.overrides import SettingsError, nearest, override, read_overrides


def recipe_by_name(name: str, known: Mapping[str, Any]) -> Any:
    """The recipe of this name in `known`, or of this file, whose key `base` (default: plain) names what it changes.

    Raises SettingsError for what is neither, and for settings that do not fit.
    """
    if name in known:
        return known[name]
    if Path(name).is_file():
        values = read_overrides(name)
        return override(recipe_by_name(str(values.pop("base", "plain")), known), values)
    raise SettingsError(f"there is no recipe {name!r} and no such file: {nearest(name, known)}")
