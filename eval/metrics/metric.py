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
    reference      B pictures (3, h, w) in [0, 1] of any sizes: what was shown to the model. Every pair has it.
    text           B texts: the tags of the sketch's row, empty where it has none. Every pair has it.
    unreferenced   (B, 3, H, W) in [0, 1]: what the model makes of the sketch without a reference. Every pair has it.
    denoiser_divergence  eval.metrics.shift.gram.Divergence: inside the denoiser. Every pair has it.
    result_lines   bool (B, H, W): lines that are drawn in the result; sketch_lines: in the sketch. Every pair has them.
    sketch_mask    bool (B, H, W): the figure of the sketch's own picture; reference_mask: B of bool (h, w). Where the
                   corpus has masks.
    seconds        (B,): how long colouring took, for each of the batch; memory_mib: the most memory meanwhile.

Any of the pictures may be asked for as a feature network sees it (eval.metrics.views): `truth@clip_vith14`, (B, dims).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from eval.metrics.intervals import bootstrap_mean
from eval.metrics.views import given_names, parse

Columns = Mapping[str, npt.NDArray[Any]]
"""Column -> the values of all pairs, float64 (N,); view -> its vectors, (N, dims)."""

ALWAYS_GIVEN = (
    *("original", "reference", "text", "seconds", "memory_mib", "unreferenced", "denoiser_divergence"),
    *("result_lines", "sketch_lines", "sketch_mask", "reference_mask"),
)
SEED = 0  # of the resampling: the same values have the same bounds
LOWER, UPPER = "_lower95", "_upper95"
"""Endings of the names of a score's bounds."""
SMALL = "_small_set"
"""Ending of the name of a score that was asked for of fewer pairs than it needs."""


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


def _nothing(result: Tensor, *given: Any) -> dict[str, Tensor]:
    """`measure` of a metric of vectors alone."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to score results; `name` is its key in METRICS.

    needs: what `measure` takes of a pair, by name and in this order after the results (B, 3, H, W) in [0, 1]; it
        returns column -> (B,), NaN where a pair has no value.
    vectors: views whose vectors the collector takes beside those columns.
    summarize: the scores of a run from the columns of all its pairs, or from what `collector` makes of them.
    heat_map: (results, then what `measure` takes) -> (B, h, w) in [0, 1]: where it looks; for the pairs that are shown.
    fewest: pairs below which its scores say too little: there are none then, unless they are asked for, and have
        another name (SMALL).
    scores: what the names of its scores begin with. A substitute (another feature network) or a reduced form (fewer
        scales) has a name of its own.
    title: the name that a person reads, in three or four words; {part} as in the meaning.
    unit, meaning: for a table; the meaning is one sentence that an artist understands, where {part} stands for what a
        score's name has after `scores`.
    caption: label and text of one pair's value, from the pair's columns, for a picture's caption.
    smallest_side: of pictures, in pixels.
    source: where it is defined.
    """

    name: str
    summarize: Callable[[Any], list[Score]]
    needs: tuple[str, ...] = ()
    measure: Callable[..., Mapping[str, Tensor]] = _nothing
    vectors: tuple[str, ...] = ()
    heat_map: Callable[..., Tensor] | None = None
    fewest: int = 1
    scores: str
    better: Literal["higher", "lower"]
    meaning: str
    source: str
    title: str = ""
    unit: str = ""
    caption: Callable[[Mapping[str, float]], tuple[str, str]] | None = None
    smallest_side: int = 1
    collector: Callable[[], Collector] = WholeColumns

    @property
    def given(self) -> tuple[str, ...]:
        """What it needs of a pair, by name, whether as it is or as a network sees it."""
        names = (*self.needs, *self.vectors)
        return tuple(dict.fromkeys(part for name in names for part in given_names(name)))

    @property
    def networks(self) -> tuple[str, ...]:
        """The feature networks that it reads, by the names of model.feature_networks.table."""
        views = (parse(name) for name in (*self.needs, *self.vectors))
        return tuple(dict.fromkeys(view.network for view in views if view))

    def refusal(self, protocol: str, gives: Collection[str], width: int, height: int) -> str:
        """Why pairs of this protocol, at this size in pixels, cannot be measured; empty where they can."""
        absent = [need for need in self.given if need not in (*ALWAYS_GIVEN, *gives)]
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
        title = self.title.format(part=score.removesuffix(SMALL).removeprefix(self.scores))
        return f"{title}, too few pairs" if title and score.endswith(SMALL) else title or score


def score_names(scores: Mapping[str, Any]) -> list[str]:
    """Of saved scores (name -> value, the bounds beside it) the names of the scores themselves."""
    return [name for name in scores if not name.endswith((LOWER, UPPER))]


def bounds_of(scores: Mapping[str, float | None], name: str) -> tuple[float, float] | None:
    """The bounds that saved scores have of one of them; None where it has none."""
    lower, upper = scores.get(name + LOWER), scores.get(name + UPPER)
    return None if lower is None or upper is None else (lower, upper)


def mean_score(name: str, values: npt.NDArray[np.float64], reason: str = "no pair has a value") -> Score:
    """The mean over the pairs that have a value, with its bounds; `reason` where none has."""
    present = values[~np.isnan(values)]
    value = float(np.mean(present)) if len(present) else None
    return Score(name, value, len(present), mean_interval(present), reason="" if len(present) else reason)


def mean_interval(values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """Bootstrap bounds of a mean over pairs; None of fewer than two values, or where one is infinite."""
    return bootstrap_mean(values, SEED) if len(values) > 1 and np.isfinite(values).all() else None


def too_few(name: str, pairs: int) -> list[Score]:
    """What a distance between sets has to say of so few pairs that there is none."""
    return [Score(name, None, pairs, reason="a distance needs two pictures of each set")]


def means(reason: str = "no pair has a value") -> Callable[[Columns], list[Score]]:
    """`summarize` of a metric whose scores are the means of its columns; `reason` where no pair has a value."""
    return lambda columns: [mean_score(name, values, reason) for name, values in columns.items()]
