"""What a metric is: what it needs of a pair, how a picture is measured, and how the values of a run become scores.

A metric works in two steps. `measure` is a pure function of a batch: results and what their pairs give go in, one value
or one vector a picture comes out, so it does not matter which worker has which pair. `summarize` makes scores of the
values of all pairs: a mean, a share with its interval, or a distance between two sets. Values come part after part; a
metric of vectors, which are too many to be held, has a `collector` that keeps sums of them (eval.metrics.frechet). A
score without a value has a reason: nothing is silently left out.

To add a metric: a file beside this one that defines a `Metric`, its row in eval.metrics.table, and its name among the
`metrics` of the protocols that report it (eval.protocols).

What a pair can give; a protocol declares which of these its pairs have, and may give more under other names:

    original       (B, 3, H, W) in [0, 1]: the sketch's own picture. Every pair has it.
    truth          (B, 3, H, W) in [0, 1]: the right answer.
    other_truth    (B, 3, H, W) in [0, 1]: the right answer for another reference, which the result must not resemble.
    regions        RegionMap: the region of each pixel, where its right colour is known.
    told           bool (B, H, W): all but the parts whose colour the reference does not show.
    determined     bool (B, H, W): where the two truths can be compared.
    paper          bool (B, H, W): where the sketch shows no figure.
    own_figure     bool (B, H, W): where the reference shows its figure.
    other_figure   bool (B, H, W): where the other reference shows its figure.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from eval.metrics.intervals import bootstrap_mean

Columns = Mapping[str, npt.NDArray[np.float64]]
"""Column -> the values of all pairs, (N,) or (N, dims)."""

ALWAYS_GIVEN = ("original",)
SEED = 0  # of the resampling: the same values have the same bounds
LOWER, UPPER = "_lower95", "_upper95"
"""Endings of the names of a score's bounds."""


@dataclass(frozen=True)
class Score:
    """One number of a run, or None and the reason.

    pairs: how many pairs the value is made of; interval: bounds at 95 %. Raises ValueError without value and reason.
    """

    name: str
    value: float | None
    pairs: int
    interval: tuple[float, float] | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError(f"score {self.name} has neither a value nor a reason")


class Collector(Protocol):
    """Takes the columns of all pairs, part after part in the order of the pairing; `summarize` is given `whole`."""

    def add(self, columns: Columns) -> None:
        """Of some pairs: column -> (n,) or (n, dims)."""

    def whole(self) -> Any:
        """What is known of all pairs."""


class WholeColumns:
    """Keeps all values: column -> (N,)."""

    def __init__(self) -> None:
        self._parts: list[Columns] = []

    def add(self, columns: Columns) -> None:
        """Keep them."""
        self._parts.append(columns)

    def whole(self) -> Columns:
        """The columns of all pairs."""
        names = self._parts[0] if self._parts else ()
        return {name: np.concatenate([part[name] for part in self._parts]) for name in names}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to score results; `name` is its key in METRICS.

    needs: what `measure` takes of a pair, by name and in this order after the results (B, 3, H, W) in [0, 1]; it
        returns column -> (B,), NaN where a pair has no value, or (B, dims).
    summarize: the scores of a run from the columns of all its pairs, or from what `collector` makes of them.
    scores: what the names of its scores begin with. A substitute (another feature network) or a reduced form (fewer
        scales) has a name of its own.
    title: the name that a person reads, in three or four words; {part} as in the meaning.
    unit, meaning: for a table; the meaning is one sentence that an artist understands, where {part} stands for what a
        score's name has after `scores`.
    caption: label and text of one pair's value, from the pair's columns, for a picture's caption.
    features: the feature network that it reads (eval.metrics.features); smallest_side: of pictures, in pixels.
    source: where it is defined.
    """

    name: str
    needs: tuple[str, ...]
    measure: Callable[..., Mapping[str, Tensor]]
    summarize: Callable[[Any], list[Score]]
    scores: str
    better: Literal["higher", "lower"]
    meaning: str
    source: str
    title: str = ""
    unit: str = ""
    caption: Callable[[Mapping[str, float]], tuple[str, str]] | None = None
    features: str | None = None
    smallest_side: int = 1
    collector: Callable[[], Collector] = WholeColumns

    def refusal(self, protocol: str, gives: Collection[str], width: int, height: int) -> str:
        """Why pairs of this protocol, at this size in pixels, cannot be measured; empty where they can."""
        absent = [need for need in self.needs if need not in (*ALWAYS_GIVEN, *gives)]
        if absent:
            return f"{self.name} needs {', '.join(absent)}, which pairs of {protocol} do not have"
        if min(width, height) < self.smallest_side:
            return f"{self.name} needs pictures of at least {self.smallest_side} pixels a side, not {width}x{height}"
        return ""

    def meaning_of(self, score: str) -> str:
        """The meaning of one of its scores."""
        return self.meaning.format(part=score.removeprefix(self.scores))

    def title_of(self, score: str) -> str:
        """The name of one of its scores for a person; of a metric without a title the score's own."""
        return self.title.format(part=score.removeprefix(self.scores)) or score


def mean_score(name: str, values: npt.NDArray[np.float64], reason: str = "no pair has a value") -> Score:
    """The mean over the pairs that have a value, with its bounds; `reason` where none has."""
    present = values[~np.isnan(values)]
    value = float(np.mean(present)) if len(present) else None
    return Score(name, value, len(present), mean_interval(present), reason="" if len(present) else reason)


def mean_interval(values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """Bootstrap bounds of a mean over pairs; None of fewer than two values, or where one is infinite."""
    return bootstrap_mean(values, SEED) if len(values) > 1 and np.isfinite(values).all() else None


def means(reason: str = "no pair has a value") -> Callable[[Columns], list[Score]]:
    """`summarize` of a metric whose scores are the means of its columns; `reason` where no pair has a value."""
    return lambda columns: [mean_score(name, values, reason) for name, values in columns.items()]
