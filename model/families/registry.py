"""Finds a family by its name: those that ship, and those that IRODORI_FAMILIES names.

`IRODORI_FAMILIES=studio.duel,...` registers the packages of other families by module path; each holds `family.py` with
`FAMILY`, and the last part of the path is the family's name. The variable reaches worker processes with the
environment, so they find the same families. A checkpoint names its family and never a module: what a file says cannot
import anything that nobody registered.
"""

import os
from difflib import get_close_matches
from importlib import import_module

from model.errors import ModelError
from model.families.family import Family, StageKind

SHIPPED = {name: f"model.families.{name}" for name in ("v1", "v15", "v2")}  # a new family that ships is one name here
VARIABLE = "IRODORI_FAMILIES"


def families() -> dict[str, str]:
    """Module path of each registered family's package, by its name."""
    paths = [path.strip() for path in os.environ.get(VARIABLE, "").split(",")]
    return SHIPPED | {path.rpartition(".")[2]: path for path in paths if path}


def family(name: str) -> Family:
    """The family of that name; imports it when first asked. Raises ModelError that names the registered ones."""
    paths = families()
    if name not in paths:
        near = get_close_matches(str(name), paths, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(paths)}"
        raise ModelError(f"there is no model family {name!r:.40}: {hint}")
    try:
        found: Family = import_module(f"{paths[name]}.family").FAMILY
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{VARIABLE} names {paths[name]}, which cannot be imported ({error}): is its package on PYTHONPATH?"
        ) from error
    if found.name != name:
        raise ModelError(f"{paths[name]} holds the family {found.name!r}, not {name!r}")
    return found


def stage_kind(stage: str) -> StageKind:
    """How a stage is built, by its whole name ("v1.noisy"). Raises ModelError where its family has none."""
    stages = family(family_of(stage)).stages
    if stage not in stages:
        raise ModelError(f"there is no stage {stage!r}: {', '.join(stages)}")
    return stages[stage]


def family_of(stage: str) -> str:
    """The name of the family that a stage belongs to: what stands before the first point."""
    return stage.partition(".")[0]


def all_families() -> list[Family]:
    """Every registered family."""
    return [family(name) for name in families()]
