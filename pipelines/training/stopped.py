"""Numbers of a run that are not finite stop it: what they were, of which samples, and how to go on.

Asking costs nothing: losses and gradient norms are on the CPU after each step anyway. The samples are only looked up
where the answer was no.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataprep.storage.store import join, write_whole
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.state.history import HISTORY, written_history
from pipelines.training.state.resumable import Position
from pipelines.training.state.store import Kept, StateStore

STOPPED = "stopped.json"
_NAMED = 4  # rows, and numbers, in the message; all of them are in STOPPED


@dataclass(frozen=True)
class Part:
    """A micro-batch of a step: its samples, their planned rows, and its own losses by network."""

    ordinals: Sequence[int]
    rows: Sequence[str]
    losses: Mapping[str, float]


@dataclass(frozen=True)
class Stop:
    """Why a run stops: `what`, after so many images, the numbers by name, and the micro-batches of the step."""

    what: str
    images_seen: int
    numbers: Mapping[str, float] = field(default_factory=dict)
    parts: Sequence[Part] = ()


def not_finite(numbers: Mapping[str, Any]) -> dict[str, float]:
    """Those of the numbers that are NaN or infinite."""
    return {name: value for name, value in numbers.items() if isinstance(value, float) and not math.isfinite(value)}


def is_not_finite(wrong: Mapping[str, float]) -> str:
    """As words: "not finite: its loss nan, its gradient norm inf"."""
    said = [f"its {name.replace('_', ' ')} {value}" for name, value in list(wrong.items())[:_NAMED]]
    more = f" and {len(wrong) - _NAMED} more numbers" if len(wrong) > _NAMED else ""
    return f"not finite: {', '.join(said)}{more}"


def record_stop(stop: Stop, recipe: StageRecipe, store: StateStore, position: Position) -> str:
    """Write STOPPED and the history so far into the output; the message for a person.

    A state whose very next step is not finite is deleted: that step's samples and draws are always the same, so no
    setting leads on from it.
    """
    kept = _last_good(stop, store, position)
    message = (
        f"training {recipe.stage} stopped at step {math.ceil(stop.images_seen / recipe.length.batch_size)} "
        f"({stop.images_seen:,} images): {stop.what}.{_samples(stop.parts)} {_goes_on(recipe, kept)} "
        f"Details: {join(store.out, STOPPED)}"
    )
    document = {
        "message": message,
        "images_seen": stop.images_seen,
        "numbers": _as_json(stop.numbers),
        "settings": {"learning_rate": recipe.optimizer.learning_rate, "gradient_clip": recipe.optimizer.gradient_clip},
        "state": kept.uri if kept else None,
        "samples": [
            {"ordinals": list(part.ordinals), "rows": list(part.rows), "losses": _as_json(part.losses)}
            for part in stop.parts
        ],
    }
    write_whole(join(store.out, HISTORY), written_history(position.history))
    write_whole(join(store.out, STOPPED), json.dumps(document, indent=2).encode())
    return message


def _last_good(stop: Stop, store: StateStore, position: Position) -> Kept | None:
    """The state that the next run goes on from."""
    good = [state for state in store.kept() if not state.problem and state.uri not in store.damaged]
    if good and stop.parts and good[0].images_seen == position.images_seen:
        store.retire(good[0])
        good = good[1:]
    return next(iter(good), None)


def _samples(parts: Sequence[Part]) -> str:
    """Which samples: those of the micro-batches whose own loss is not finite, or all where only the gradient is not.

    Of several networks the first that has such losses counts, since it harms the next.
    """
    if not parts:
        return ""
    found = ([part for part in parts if not math.isfinite(part.losses[name])] for name in parts[0].losses)
    chosen = next(filter(None, found), parts)
    ordinals = sorted(ordinal for part in chosen for ordinal in part.ordinals)
    rows = [row[:12] for part in chosen for row in part.rows]
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return f" It was made of samples {ordinals[0]:,} to {ordinals[-1]:,} (rows {', '.join(rows[:_NAMED])}{more})."


def _goes_on(recipe: StageRecipe, kept: Kept | None) -> str:
    """What is left, and the change with which the same command goes on."""
    rate = f"--set learning_rate={recipe.optimizer.learning_rate / 10:g}"
    clip = "" if recipe.optimizer.gradient_clip else " or --set gradient_clip=1"
    images = "its last good state" if kept is None or kept.images_seen is None else f"{kept.images_seen:,} images"
    left = f"The same command goes on from {images}" if kept else "No good state is kept; the same command begins again"
    return f"{left}, calmer with {rate}{clip}."


def _as_json(numbers: Mapping[str, float]) -> dict[str, float | str]:
    """JSON knows no NaN: it and infinity are words."""
    return {name: value if math.isfinite(value) else str(value) for name, value in numbers.items()}


def joined(parts: Iterable[Sequence[Part]]) -> list[Part]:
    """Those of all ranks in the order of their samples."""
    return sorted((part for some in parts for part in some), key=lambda part: part.ordinals[0])
