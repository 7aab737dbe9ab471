"""The recipe of one stage: what every stage has, and what its family's method adds, composed of small settings.

On disk, on the command line and in MLflow a recipe is flat: `learning_rate`, not `optimizer.learning_rate`. Both are
understood; which group a name belongs to is looked up. A group of a method's own (a discriminator's optimizer) is
reached by dotted keys.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

from dataprep.samples.sample_plan import stage_rows
from model.families.registry import stage_kind
from model.setting import check_ranges, setting
from pipelines.common.overrides import SettingsError, nearest, override
from pipelines.recipes.stage_settings import LengthSettings, SizeSettings, TrainedSettings, WatchSettings

GROUPS = ("length", "optimizer", "method", "samples", "watch")
_GROUP = re.compile(rf"\b(?:{'|'.join(GROUPS)})\.(?=[a-z])")  # before a setting's name
# Model sizes that are made for CPUs; the published ones take GPUs, unless CPUs are asked for.
WITHOUT_GPU = ("tiny", "small")
IDENTITY = ("stage", "family", "model_size", "parent_stage")


@dataclass(frozen=True, kw_only=True)
class StageRecipe:
    """Everything that decides what a stage computes. `method` is of its family's settings class.

    A stage with a `parent_stage` continues a checkpoint of that stage; the others start fresh, or from a checkpoint
    that their kind may be initialised from.
    """

    stage: str
    family: str
    model_size: str = "base"
    parent_stage: str | None = None
    length: LengthSettings = field(default_factory=LengthSettings)
    optimizer: TrainedSettings = field(default_factory=TrainedSettings)
    method: Any
    samples: SizeSettings = field(default_factory=SizeSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    seed: int = setting(0, help="Decides samples, draws and fresh weights.", panel="Length", least=0)

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def needs_gpu(self) -> bool:
        """Whether the model's size needs GPUs."""
        return size_needs_gpu(self.model_size)

    def flat(self) -> dict[str, Any]:
        """The recipe as a JSON-able mapping, without its groups.

        What no family that shipped first could set is left out while it has its default, so that older runs go on.
        """
        values = {name: getattr(self, name) for name in IDENTITY}
        for group in GROUPS:
            values |= {name: value for name, value in _flat(getattr(self, group)).items() if _is_recorded(name, value)}
        values["seed"] = self.seed
        return {key: list(value) if isinstance(value, tuple) else value for key, value in _in_order(values).items()}

    def changed(self, **values: Any) -> "StageRecipe":
        """A copy with settings changed by their flat names. SettingsError names them as they were given."""
        try:
            return override(self, _grouped(self, values))
        except SettingsError as error:
            if any("." in name for name in values):
                raise
            raise SettingsError(_GROUP.sub("", str(error))) from error


def size_needs_gpu(size: str) -> bool:
    """Whether models of that size are for GPUs: all but those that are made for CPUs."""
    return size not in WITHOUT_GPU


_SCHEDULE = ("warmup_images", "decay_images")
# Settings that recipes of version 0.1 did not have, with what they then were.
_LATER = {
    "kind": "adamw",
    "simplified": "among",
    "recolored": 0.0,
    "palette_references": 0.0,
    "noise_schedule": "stable-diffusion",
}


def _in_order(values: dict[str, Any]) -> dict[str, Any]:
    """The schedule stands behind the rate, as in the recipes of version 0.1."""
    ordered: dict[str, Any] = {}
    for name, value in values.items():
        if name not in _SCHEDULE:
            ordered[name] = value
        if name == "learning_rate":
            ordered |= {scheduled: values[scheduled] for scheduled in _SCHEDULE}
    return ordered


def _is_recorded(name: str, value: Any) -> bool:
    return name not in _LATER or value != _LATER[name]


def _flat(settings: Any) -> dict[str, Any]:
    """Name -> value; groups within the settings keep a dotted name."""
    found: dict[str, Any] = {}
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        if is_dataclass(value):
            found |= {f"{entry.name}.{name}": inner for name, inner in asdict(value).items()}  # type: ignore[arg-type]
        else:
            found[entry.name] = value
    return found


def _grouped(recipe: StageRecipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` by dotted keys, from flat ones. Raises SettingsError for names that no group has, naming the nearest."""
    homes = {name: f"{group}.{name}" for group in GROUPS for name in _flat(getattr(recipe, group))} | {"seed": "seed"}
    known = homes | {dotted: dotted for dotted in homes.values()}
    dotted: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise SettingsError(f"there is no setting {name!r}: {nearest(name, homes)}")
        dotted[known[name]] = value
    return dotted


def configured(recipe: StageRecipe, values: Mapping[str, Any]) -> StageRecipe:
    """The recipe with settings changed; who sets `epochs` alone means them, also where the recipe counts `images`.

    Raises SettingsError, also for what only STAGE and --model-size decide.
    """
    for name in IDENTITY:
        if name in values:
            raise SettingsError(f"{name} is no setting: it follows from the stage and the model size of the call")
    return recipe.changed(**(({"images": 0} if "epochs" in values else {}) | dict(values)))


def check_parent_given(recipe: StageRecipe, parent: str | None) -> None:
    """Raises SettingsError where a stage that continues another, or is taught by one, has no parent."""
    if parent is not None:
        return
    if recipe.parent_stage is not None:
        raise SettingsError(f"{recipe.stage} continues {recipe.parent_stage}: give its output with --from")
    if stage_kind(recipe.stage).needs_parent:
        raise SettingsError(f"{recipe.stage} begins with a trained network: give a checkpoint with --from")


def with_length(recipe: StageRecipe, rows: Sequence[int]) -> StageRecipe:
    """The recipe with `images` filled in: whole batches that cover `epochs` of `rows`, or the `images` asked for.

    `rows` are those of each bucket that makes batches of its own; of all rows together where buckets do not matter.
    """
    length = recipe.length
    wanted = length.images or stage_rows(rows, length.epochs, length.batch_size)
    images = -(-wanted // length.batch_size) * length.batch_size
    return replace(recipe, length=replace(length, images=images))
