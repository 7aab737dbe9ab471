"""What a family is: one object with everything that the rest of the project asks of it.

A family's folder holds `family.py` with `FAMILY`, its sizes, its stages' settings and its recipe table, which are
light, and its networks and stages, which `FAMILY`'s functions import when they are called. Registering it: see
`registry`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from model.typed_entries import check_types

if TYPE_CHECKING:
    import torch
    from torch import nn

    from model.colorist import Colorist
    from model.stage import Stage, StageContext

    Tensors = Mapping[str, torch.Tensor]

RELEASED = "released"  # the stage of a checkpoint whose weights the published code trained
MOST_WIDTH = 1 << 16  # of any number in a network's configuration
Values = Mapping[str, Any]


class Phase(NamedTuple):
    """A phase of a stage: its share of the stage's images, and what it changes of the recipe besides `phase`."""

    name: str
    share: float
    changes: Values


@dataclass(frozen=True, kw_only=True)
class StageKind:
    """How stages of one kind are built.

    settings: the dataclass of what the method adds to a recipe. It has `network(size) -> config`, the network that a
    stage of these settings trains. build: the stage. fresh_from: stages of checkpoints that a stage without a parent
    may be initialised from, those of other families by their whole names; needs_parent: must be, and continues it.
    columns(settings): of a corpus that its samples need besides colours and sketches. check_parent(settings, metadata,
    continues): why a parent does not fit, as the end of a sentence that begins with its address, or None.
    same_size(found, wanted): whether two network configurations are of one size, whatever else they differ in.
    phases(settings, parent_stage): of a stage that is trained as several runs, one after the other, those that are left
    after a parent of that stage (its whole name); None: it is one.
    """

    settings: type
    build: "Callable[[StageContext], Stage]"
    fresh_from: tuple[str, ...] = ()
    columns: Callable[[Any], tuple[str, ...]] = lambda settings: ()
    needs_parent: bool = False
    check_parent: Callable[[Any, Any, bool], str | None] = lambda settings, metadata, continues: None
    same_size: Callable[[Any, Any], bool] = lambda found, wanted: bool(found == wanted)
    phases: Callable[[Any, str | None], list[Phase] | None] = lambda settings, parent_stage: None


@dataclass(frozen=True, kw_only=True)
class ReleasedKeys:
    """The published layout of a family's weights.

    name: our parameter name and the configuration -> the published key. parts: what an inspection reports, title ->
    start of our parameter names. constants: tensors that a published file holds beside the weights, such as the noise
    schedule. starts_from: kinds of published models that a checkpoint may be made of -> the stage that it then has.
    marks: a released file is this family's where a key starts with one of them, or holds the last; none where the file
    is recognised by what it lacks. described: what can be converted, as an error says it. needed: parts without which
    nothing can be made.
    """

    name: Callable[[str, Any], str]
    parts: Mapping[str, str]
    constants: "Callable[[], dict[str, torch.Tensor]]"
    starts_from: Mapping[str, str]
    described: str
    needed: tuple[str, ...]
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Floating-point operations of one training image: the trained network forward, the frozen ones forward."""

    trained: float
    frozen: float


def common_weights(fresh: "Tensors", given: "Tensors") -> "dict[str, torch.Tensor]":
    """The given weights under the names that both have, the fresh ones elsewhere."""
    return {name: given.get(name, tensor) for name, tensor in fresh.items()}


@dataclass(frozen=True, kw_only=True)
class Family:
    """A model family.

    sizes: network configurations by name ("tiny", "base"), frozen dataclasses that JSON can hold. build: the module
    that a checkpoint holds, with fresh weights. frozen: role -> id of the frozen networks around it ("codec" ->
    "sd-vae"). stages: by their whole names. recipes: stage -> size -> the recipe's settings by name, plain data.
    colorist: of a built module, its frozen networks by role and a checkpoint's metadata; None where it colours nothing.
    operations: of one square training image of so many pixels a side, for forecasts. adopt(fresh, given): the weights
    to begin with, of a parent whose network has other parameters. keys: the published layout, where there is one.
    trained_side: of the published weights, in pixels, by size; there wherever there are keys. controls: settings of
    sampling that not every family has. modes: of networks that part figure from ground, what each reads: controls, and
    "sketch_mask", "reference_mask" and "background" (a picture of its own). usual_mode: of such a network, by its
    configuration; lacking(configuration, mode): what a network has not that the mode needs, as a sentence's end.
    """

    name: str
    title: str
    sizes: Mapping[str, Any]
    build: "Callable[[Any], nn.Module]"
    frozen: Callable[[Any], Mapping[str, str]]
    stages: Mapping[str, StageKind]
    recipes: Mapping[str, Mapping[str, Values]]
    colorist: "Callable[[nn.Module, Mapping[str, nn.Module], Any], Colorist] | None"
    operations: Callable[[Any, int], Operations]
    keys: ReleasedKeys | None = None
    adopt: "Callable[[Tensors, Tensors], dict[str, torch.Tensor]]" = common_weights
    trained_side: Mapping[str, int] = field(default_factory=dict)
    controls: frozenset[str] = frozenset()
    modes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    usual_mode: Callable[[Any], str] = lambda config: ""
    lacking: Callable[[Any, str], str] = lambda config, mode: ""

    def reads(self, mode: str | None, config: Any) -> frozenset[str]:
        """What a mode of a network reads (`modes`); None: its usual one."""
        return self.modes.get(mode or self.usual_mode(config), frozenset())

    def config(self, values: Values) -> Any:
        """The network configuration that a checkpoint's config.json records. Raises ValueError or TypeError.

        Its numbers are held to MOST_WIDTH: a file could otherwise ask for all memory before its weights are looked at.
        """
        kind = type(next(iter(self.sizes.values())))
        if not isinstance(values, Mapping):
            raise ValueError("network should be a mapping")
        check_types(kind, values, "network")
        for name, value in values.items():
            for number in value if isinstance(value, list | tuple) else [value]:
                if isinstance(number, int) and not 0 <= number <= MOST_WIDTH:
                    raise ValueError(f"network.{name}={number} is not within 0..{MOST_WIDTH}")
        if unknown := set(values) - {entry.name for entry in fields(kind)}:
            raise ValueError(f"unknown network entries {', '.join(sorted(unknown))}")
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
