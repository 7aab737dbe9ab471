"""What an evaluation protocol is: its pairs, what each pair gives to the model and the metrics, and what is reported.

To add a protocol: a file beside this one that defines an `EvaluationProtocol`, and its row in eval.protocols.table. The
corpus is reached through the two interfaces below, so a protocol knows neither its files nor the model.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from eval.protocols.pairing import Pair

Bytes = npt.NDArray[np.uint8]
REFERENCE = "reference"
"""The role of the picture that gives the colours."""


class Regions(NamedTuple):
    """The region of each pixel: uint8 (H, W), an index into `names`; 255 where no score counts it."""

    classes: Bytes
    names: tuple[str, ...]

    def within(self, names: AbstractSet[str]) -> npt.NDArray[np.bool_]:
        """Where the picture shows one of the named regions, bool (H, W)."""
        return np.isin(self.classes, [self.names.index(name) for name in sorted(names)])


class CorpusRows(Protocol):
    """The held-out rows that a protocol may pair."""

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all rows, sorted."""

    def facts(self) -> Iterable[Mapping[str, Any]]:
        """Of each row its `id`, `group`, `assembly` (None where it is not assembled), `tags` and other metadata."""


class PairPictures(Protocol):
    """The pictures of one pair and of other rows, RGB uint8. Model size: as the scored model makes its results."""

    @property
    def original(self) -> Bytes:
        """The sketch's own picture at model size, (H, W, 3)."""

    def whole(self, row_id: str) -> Bytes:
        """The whole picture of a row at its own size, (h, w, 3)."""

    def deformed(self, row_id: str, seed: int) -> Bytes:
        """The whole picture of a row at its own size, warped as the seed decides."""

    def mask(self, row_id: str) -> Bytes:
        """The figure of a row's whole picture, (h, w), 255 = figure."""

    def deformed_mask(self, row_id: str, seed: int) -> Bytes:
        """The same, warped as `deformed` warps the picture."""

    def recolored(self, drawing_of: str, colors_of: str) -> Bytes:
        """The assembled drawing of one row in the colours of another, drawn anew at model size."""

    def regions(self, row_id: str) -> Regions:
        """The regions of an assembled drawing at model size."""

    def shown_regions(self, row_id: str) -> AbstractSet[str]:
        """The regions whose colour an assembled drawing shows."""


@dataclass(frozen=True)
class PreparedPair:
    """What one pair gives: its references by role, uint8 (h, w, 3), and what metrics need, by name.

    A picture in `given` is uint8 (H, W, 3) at model size, a mask bool (H, W), a region map `Regions`. The names are
    those of eval.metrics.metric, or new ones. masks: of references by role, uint8 (h, w) with 255 = figure, made when a
    model that keeps figure and ground apart asks.
    """

    references: Mapping[str, Bytes]
    given: Mapping[str, Bytes | npt.NDArray[np.bool_] | Regions]
    masks: Mapping[str, Callable[[], Bytes]] = field(default_factory=dict)


def whole_reference(pair: Pair, pictures: PairPictures) -> PreparedPair:
    """`prepare` of a protocol whose reference is a row's whole picture, and where no one answer is right."""
    mask = partial(pictures.mask, pair.reference_id)
    return PreparedPair({REFERENCE: pictures.whole(pair.reference_id)}, {}, {REFERENCE: mask})


@dataclass(frozen=True)
class PublishedSettings:
    """What a paper states of an evaluation. pairs: how many, None for all; size: (width, height) of the results in
    pixels, None where it is not stated; resize: how pictures come to it; sampling: settings by their names."""

    pairs: int | None
    size: tuple[int, int] | None
    resize: Literal["cover", "squash"]
    sampling: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """A way to evaluate; `name` is its key in PROTOCOLS.

    pairs: (rows, seed, most pairs or None) -> the pairs, a pure function. How a limit that does not fit is rounded, and
        how many pairs there are without one, is the protocol's.
    prepare: a pair and its pictures -> what it gives.
    gives: the names that `prepare` fills, besides the sketch's own picture, which every pair has.
    metrics: what is reported unless other metrics are asked for, in this order: names of eval.metrics.table, or
        "module:NAME".
    truth_note: what is shown as the truth, for the caption of a picture; source: where the protocol is described.
    square: it can only draw square pictures. settings: of a published evaluation, used where a call sets nothing else.
    """

    name: str
    pairs: Callable[[CorpusRows, int, int | None], list[Pair]]
    prepare: Callable[[Pair, PairPictures], PreparedPair]
    gives: tuple[str, ...]
    metrics: tuple[str, ...]
    truth_note: str
    source: str
    square: bool = False
    settings: PublishedSettings | None = None
