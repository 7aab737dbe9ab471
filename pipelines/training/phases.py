"""A stage of several phases: each is trained as a run of its own, in a folder of the output, from the one before it.

So each phase holds gradients and optimizer state of what it trains alone, and goes on where it stopped. What the last
one made is the stage's checkpoint; the history is theirs, one after the other.
"""

from collections.abc import Callable, Sequence
from typing import Any

from dataprep.storage.store import join, read_bytes
from model.families.family import Phase
from model.families.registry import stage_kind
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.state.history import HISTORY, parsed_history

FOLDER = "phases"
SEEDS_APART = 1_000_000  # of two phases, so that they do not see the same samples in the same order
RunPhase = Callable[[StageRecipe, str, str | None], Any]


def phases_of(recipe: StageRecipe, parent_stage: str | None) -> tuple[tuple[str, StageRecipe], ...]:
    """The phases of a stage whose length is known, with the recipe of each; none where it is all one.

    parent_stage: the whole name of its parent's. Raises PipelineError where that has left nothing to train,
    SettingsError for settings that a phase decides itself.
    """
    kind = stage_kind(recipe.stage)
    try:
        phases = kind.phases(recipe.method, parent_stage)
    except ValueError as error:
        raise SettingsError(f"{recipe.stage}: {error}") from error
    if phases is None:
        return ()
    if not phases:
        raise PipelineError(f"of {recipe.stage} with these settings nothing is left to train after {parent_stage}")
    return tuple((phase.name, _phase_recipe(recipe, phase, number)) for number, phase in enumerate(phases))


def _phase_recipe(recipe: StageRecipe, phase: Phase, number: int) -> StageRecipe:
    name, share, changes = phase
    length, optimizer = recipe.length, recipe.optimizer
    images = max(1, round(share * length.images / length.batch_size)) * length.batch_size
    schedule = {
        "images": images,
        "warmup_images": min(optimizer.warmup_images, images),
        "decay_images": min(round(share * optimizer.decay_images), images),
        "seed": recipe.seed + number * SEEDS_APART,
    }
    return recipe.changed(**{"phase": name, **schedule, **changes})


def phase_folders(phases: Sequence[tuple[str, StageRecipe]], out: str) -> list[str]:
    """Where each phase's run lies in the output."""
    return [join(out, FOLDER, f"{number}-{name}") for number, (name, _) in enumerate(phases, 1)]


def run_phases(
    phases: Sequence[tuple[str, StageRecipe]], out: str, parent: str | None, run: RunPhase
) -> tuple[list[Any], list[dict[str, Any]]]:
    """The reports of all phases, which `run` trains, and their history as one."""
    reports, history, seen = [], list[dict[str, Any]](), 0
    for (name, recipe), folder in zip(phases, phase_folders(phases, out), strict=True):
        report = run(recipe, folder, parent)
        where = join(folder, HISTORY)
        for record in parsed_history(read_bytes(where), where):
            history.append(record | {"images_seen": record["images_seen"] + seen, "phase": name})
        seen += recipe.length.images
        parent = report.checkpoint
        reports.append(report)
    return reports, history


def resumed_from(reports: Sequence[Any]) -> int:
    """How many images had been seen when a call went on, by the reports of its phases."""
    seen = 0
    for report in reports:
        if not report.already_complete:
            return seen + int(report.resumed_from)
        seen += report.images_seen
    return seen
