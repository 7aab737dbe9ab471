"""What a step costs on one picture, as measured, and what the pictures are like: the two tables behind a forecast.

Each step costs `fixed + per_megapixel * size`, fitted to milliseconds that `python -m benchmarks.costs` has
measured on one core; costs are linear in the size, so that of a distribution only the mean matters.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from dataprep.documents import read_document
from dataprep.errors import DataError
from dataprep.operators.operator import Operator
from pipelines.common.errors import PipelineError

SHIPPED = Path(__file__).with_name("measured_costs.json")
FORMAT = 1
SOURCE_FORMATS = ("jpeg", "png")


@dataclass(frozen=True)
class Linear:
    """`fixed` + `per_megapixel` times megapixels."""

    fixed: float
    per_megapixel: float

    def at(self, megapixels: float) -> float:
        return self.fixed + self.per_megapixel * megapixels


@dataclass(frozen=True)
class StepCost:
    """One step on one picture: milliseconds of one core, and bytes of what it makes (of the source, for `read`).

    A step with a network has here what is done around it: its input made, its output finished, encoded and written.
    `worst`: largest relative distance of a measurement from the fitted line of milliseconds.
    """

    ms: Linear
    bytes: Linear
    worst: float = 0.0

    def then(self, more: "StepCost") -> "StepCost":
        """This step and one that works on what it made."""
        ms = Linear(self.ms.fixed + more.ms.fixed, self.ms.per_megapixel + more.ms.per_megapixel)
        return StepCost(ms, more.bytes, max(self.worst, more.worst))


@dataclass(frozen=True)
class GPUCost:
    """Milliseconds of one GPU on one picture; what GPU, as its driver names it, and when."""

    ms: Linear
    device: str
    date: str


@dataclass(frozen=True)
class NetworkCost:
    """The network of one step on one picture: milliseconds of one core in float32, and floating-point operations.

    half: the precisions that it holds. gpu: by precision, where measured.
    """

    ms: Linear
    flops: Linear
    half: tuple[str, ...] = ()
    gpu: Mapping[str, GPUCost] = field(default_factory=dict)
    worst: float = 0.0


@dataclass(frozen=True)
class CostTable:
    """Step -> source format -> cost; `measured` says when, on what machine and on what pictures."""

    measured: Mapping[str, Any]
    steps: Mapping[str, Mapping[str, StepCost]]
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    networks: Mapping[str, NetworkCost] = field(default_factory=dict)

    def step(self, name: str, jpeg_share: float) -> StepCost:
        """The cost of a step for a mixture of JPEG and PNG sources. PipelineError where it was never measured."""
        jpeg, png = (_measured(name, self.steps)[kind] for kind in SOURCE_FORMATS)
        return StepCost(
            _mixed(jpeg.ms, png.ms, jpeg_share), _mixed(jpeg.bytes, png.bytes, jpeg_share), max(jpeg.worst, png.worst)
        )

    def network(self, name: str) -> NetworkCost:
        """The cost of a step's network. PipelineError where it was never measured."""
        return _measured(name, self.networks)


def step_name(operator: Operator) -> str:
    """What an operator is called in a table: its column, and where several networks can make it, which one does."""
    is_plain = operator.network is None or operator.name in operator.column
    return operator.column if is_plain else f"{operator.column} by {operator.name}"


@dataclass(frozen=True)
class PictureMix:
    """What the pictures are like. `origin` says where the figures come from."""

    name: str
    megapixels: float  # mean
    jpeg_share: float
    origin: str

    def __post_init__(self) -> None:
        if not self.megapixels > 0 or not 0 <= self.jpeg_share <= 1:
            raise ValueError("megapixels must be positive and jpeg_share in [0, 1]")


def log_normal_mean(median: float, sigma: float) -> float:
    """The mean of a log-normal distribution: median * exp(sigma^2 / 2)."""
    return median * math.exp(sigma**2 / 2)


MIXES = {
    mix.name: mix
    for mix in (
        PictureMix("danbooru", log_normal_mean(1.0, 0.8), 0.7, "assumed: log-normal, median 1.0, sigma 0.8; 70 % JPEG"),
        PictureMix("danbooru-512", 0.512**2, 1.0, "512 x 512 JPEG, the size of the 512px folder"),
    )
}


def load_costs(path: str | Path = SHIPPED) -> CostTable:
    """A file of `benchmarks.costs`. Raises PipelineError where it is none."""
    try:
        document = read_document(str(path), _Costs)
        if document["format"] != FORMAT:
            raise PipelineError(f"{path}: format {document['format']} is not {FORMAT}, the one this version reads")
        steps = {
            name: {"jpeg": _step_cost(kinds["jpeg"]), "png": _step_cost(kinds["png"])}
            for name, kinds in document["steps"].items()
        }
        networks = {name: _network_cost(cost) for name, cost in document.get("networks", {}).items()}
        return CostTable(document["measured"], steps, document.get("training", {}), networks)
    except DataError as error:
        raise PipelineError(f"{path}: no file of benchmarks.costs ({error})") from error


_Line = tuple[float, float]


class _StepCosts(TypedDict):
    ms: _Line
    bytes: _Line
    worst: float


class _ByFormat(TypedDict):
    jpeg: _StepCosts
    png: _StepCosts


class _GPUCosts(TypedDict):
    ms: _Line
    device: str
    date: str


class _NetworkCosts(TypedDict):
    ms: _Line
    flops: _Line
    half: list[str]
    gpu: NotRequired[dict[str, _GPUCosts]]
    worst: float


class _Costs(TypedDict):
    format: int
    measured: dict[str, Any]
    steps: dict[str, _ByFormat]
    training: NotRequired[dict[str, dict[str, Any]]]
    networks: NotRequired[dict[str, _NetworkCosts]]


def _measured(name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise PipelineError(
            f"there is no measurement of {name!r}: run python -m benchmarks.costs --out FILE with this "
            "recipe, and give the file with --costs"
        )
    return known[name]


def _step_cost(fields: _StepCosts) -> StepCost:
    return StepCost(Linear(*fields["ms"]), Linear(*fields["bytes"]), fields["worst"])


def _network_cost(fields: _NetworkCosts) -> NetworkCost:
    gpu = {
        precision: GPUCost(Linear(*found["ms"]), found["device"], found["date"])
        for precision, found in fields.get("gpu", {}).items()
    }
    return NetworkCost(Linear(*fields["ms"]), Linear(*fields["flops"]), tuple(fields["half"]), gpu, fields["worst"])


def _mixed(one: Linear, other: Linear, share: float) -> Linear:
    return Linear(
        share * one.fixed + (1 - share) * other.fixed,
        share * one.per_megapixel + (1 - share) * other.per_megapixel,
    )
