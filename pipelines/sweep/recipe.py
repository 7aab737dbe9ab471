"""The recipe of a sweep: what is scored, on what, and what varies; a YAML file, checked before anything starts.

    corpus: corpora/danbooru
    checkpoints: [runs/v1, runs/v2]       # and what newest_of finds
    newest_of: [runs/nightly]             # of each folder the checkpoint below it that was written last
    pictures: {Cobra: results/cobra}      # other systems' results (pipelines.evaluation.scoring.hand_over)
    protocols: [deformed-reference, table1-002]
    sampling: {guidance_scale: [3, 5], steps: 20, mode: [vanilla, style]}   # any setting of sampling, one or several
    seeds: [0, 1, 2]
    limit: 200                            # and size, resize, style, metrics, small_sets as of `irodori evaluate`

A cell is one choice of each. Addresses are those of the working directory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any

from dataprep.storage.store import exists, join, list_files
from eval.protocols.user_pairs import USER_PAIRS
from model.checkpoint import WEIGHTS
from pipelines.colorization.picture_settings import sampling_settings
from pipelines.common.addresses import absolute
from pipelines.common.overrides import SettingsError, nearest, override, read_overrides
from pipelines.evaluation.lookup import find_protocol
from pipelines.evaluation.plan import Resize
from pipelines.evaluation.sampling import DEFAULT_SAMPLING
from pipelines.weights.checkpoints import CONFIG

LEAST_SEEDS = 3  # below which a comparison says so
EXAMPLES = {"sampling": "{steps: [10, 20]}", "pictures": "{Cobra: results/cobra}"}


@dataclass(frozen=True)
class Cell:
    """One evaluation of a sweep. checkpoint: an address, or of another system's pictures the name; pictures: their
    folder; sampling: settings by name."""

    checkpoint: str
    protocol: str
    seed: int
    sampling: Mapping[str, Any] = field(default_factory=dict)
    pictures: str = ""

    @property
    def label(self) -> str:
        """For a person."""
        settings = " ".join(f"{name}={value}" for name, value in self.sampling.items())
        return " ".join(filter(None, (self.checkpoint, self.protocol, settings, f"seed={self.seed}")))


@dataclass(frozen=True, kw_only=True)
class SweepRecipe:
    """What the file says; a value alone stands for a list of one."""

    corpus: str
    protocols: tuple[str, ...]
    checkpoints: tuple[str, ...] = ()
    newest_of: tuple[str, ...] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    sampling: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    metrics: tuple[str, ...] = ()
    limit: int | None = None
    size: str = ""
    resize: Resize | None = None
    style: str = ""
    small_sets: bool = False

    def cells(self) -> list[Cell]:
        """Every choice, in the order of the recipe. Raises SettingsError where a newest_of folder has no checkpoint."""
        checkpoints = dict.fromkeys((*self.checkpoints, *map(newest_checkpoint, self.newest_of)))
        choices = [dict(zip(self.sampling, values, strict=True)) for values in product(*self.sampling.values())]
        scored = [(checkpoint, "", settings) for checkpoint in checkpoints for settings in choices]
        scored += [(name, folder, {}) for name, folder in self.pictures.items()]
        return [
            Cell(checkpoint, protocol, seed, settings, folder)
            for (checkpoint, folder, settings), protocol, seed in product(scored, self.protocols, self.seeds)
        ]


def read_recipe(path: str, newest_of: Sequence[str] = (), pictures: Sequence[str] = ()) -> SweepRecipe:
    """The recipe in a YAML file, and what a call adds: folders of newest_of, "NAME=DIR" or "DIR" of pictures.

    Raises SettingsError that names what is wrong, with the nearest right names.
    """
    given, sampling, named = dict[str, Any](), dict[str, tuple[Any, ...]](), dict[str, str]()
    known = [each.name for each in fields(SweepRecipe)]
    for key, value in read_overrides(path).items():
        head, _, part = key.partition(".")
        if head == "sampling" and part:
            sampling[part] = tuple(value) if isinstance(value, list) else (value,)
        elif head == "pictures" and part:
            named[part] = str(value)
        elif key in ("sampling", "pictures"):
            raise SettingsError(f"{path}: {key} is a mapping, such as {EXAMPLES[key]}, not {value!r}")
        elif key not in known:
            raise SettingsError(f"{path}: there is no setting {key!r} of a sweep: {nearest(key, known)}")
        else:
            given[key] = value
    for required in ("corpus", "protocols"):
        if not given.get(required):
            raise SettingsError(f"{path}: a sweep needs {required}")
    recipe = override(SweepRecipe(corpus="", protocols=()), given)
    named |= dict(_named(item) for item in pictures)
    recipe = replace(recipe, sampling=sampling, pictures=named, newest_of=(*recipe.newest_of, *newest_of))
    _check(path, recipe)
    return recipe


def _named(item: str) -> tuple[str, str]:
    name, _, folder = item.rpartition("=")
    return name or folder.rstrip("/").rpartition("/")[2], folder


def _check(path: str, recipe: SweepRecipe) -> None:
    """Raises SettingsError for what no cell could be made of."""
    if not (recipe.checkpoints or recipe.newest_of or recipe.pictures):
        raise SettingsError(f"{path}: a sweep scores checkpoints, newest_of folders, or pictures: name some")
    for protocol in recipe.protocols:
        if find_protocol(protocol) is USER_PAIRS:
            raise SettingsError(f"{path}: user-pairs is of `irodori evaluate`, a sweep makes its pairs")
    if not recipe.seeds or len(set(recipe.seeds)) < len(recipe.seeds):
        raise SettingsError(f"{path}: a sweep needs seeds, each once")
    for values in product(*recipe.sampling.values()):
        sampling_settings(dict(zip(recipe.sampling, values, strict=True)), DEFAULT_SAMPLING)
    if recipe.limit is not None and recipe.limit < 1:
        raise SettingsError(f"{path}: limit is at least 1, not {recipe.limit}")


def newest_checkpoint(folder: str) -> str:
    """The checkpoint directory below a folder whose weights were written last. SettingsError where there is none."""
    address = absolute(folder)
    found = [entry for entry in list_files(address) if entry.uri.rpartition("/")[2] == WEIGHTS]
    whole = [entry for entry in found if exists(join(entry.uri.rpartition("/")[0], CONFIG))]
    if not whole:
        raise SettingsError(f"{folder}: there is no checkpoint below this folder")
    return max(whole, key=lambda entry: (entry.modified_s, entry.uri)).uri.rpartition("/")[0]
