"""What may differ from the recipe that an output was begun with, and what of that is refused.

A run may be watched at other intervals, made longer where no step that is done would have had another rate, and, after
it stopped because its numbers were not finite, go on with another rate, warm-up or clipping.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast

from dataprep.documents import read_document
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import differences

WATCHED = ("checkpoint_images", "sample_images", "validate_images")
TAMED = ("learning_rate", "gradient_clip", "warmup_images")  # what calms a run whose numbers grew without bound
Changes = dict[str, tuple[Any, Any]]


class _Recorded(TypedDict):
    """What is relied on of a recorded recipe; further settings are compared as they are."""

    images: NotRequired[int]
    decay_images: NotRequired[int]


class Change(TypedDict):
    """One line of changes.json: settings with their values (before, from then on), changed at so many images."""

    images_seen: int
    at: str
    changed: dict[str, list[Any]]


def recorded_recipe(uri: str) -> Mapping[str, Any]:
    """The recipe that an output was begun with. DataError for what is none."""
    return cast(Mapping[str, Any], read_document(uri, _Recorded))


def earlier_changes(uri: str) -> list[Change]:
    """What changed before, the oldest first. DataError for what cannot be read."""
    return read_document(uri, list[Change])


def accepted_changes(
    out: str, recorded: Mapping[str, Any], wanted: Mapping[str, Any], *, images_seen: int, stopped: bool
) -> Changes:
    """Setting -> (before, from now on), of a run that goes on; both are documents as in recipe.json.

    images_seen: of its newest state. stopped: it ended because numbers were not finite. Raises PipelineError for what
    would make it another run.
    """
    keys = sorted(recorded.keys() | wanted.keys())
    changed = {key: (recorded.get(key), wanted.get(key)) for key in keys if recorded.get(key) != wanted.get(key)}
    allowed = {key for key in changed if key in WATCHED or (stopped and key.rpartition(".")[2] in TAMED)}
    if _is_longer(recorded, wanted):
        _check_schedule(out, recorded, images_seen)
        allowed |= {"images", "epochs"}
    elif "images" not in changed:
        allowed.add("epochs")  # another way to say the same length
    if refused := changed.keys() - allowed:
        lines = differences({key: recorded.get(key) for key in refused}, {key: wanted.get(key) for key in refused})
        raise PipelineError(
            f"{out} holds a run of another recipe ({'; '.join(lines)}); choose another --out or the same recipe "
            f"(a run that goes on may have more images and other {', '.join(WATCHED)})"
        )
    return changed


def _is_longer(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return bool(wanted["images"] > recorded.get("images", 0) > 0)


def _check_schedule(out: str, recorded: Mapping[str, Any], images_seen: int) -> None:
    """PipelineError where the rate has begun to fall towards the end that was planned."""
    images, decay = recorded["images"], recorded.get("decay_images", 0)
    if images_seen > images - decay:
        raise PipelineError(
            f"{out} cannot be made longer than {images:,} images: its rate has fallen over the last {decay:,} of them "
            f"(decay_images), {images_seen:,} are done, and a longer run would have kept it up. Begin another --out "
            "with more images, or one that starts from this checkpoint, where its stage takes one"
        )
