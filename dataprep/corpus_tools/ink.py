"""How much of a corpus's sketches is ink, and which of its picture columns hold hardly anything.

Looked at on some rows, drawn at random: nobody sees a column of blank pages before a training on it has failed.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

from dataprep.corpus.snapshot import Snapshot
from dataprep.corpus_tools.survey import RowPicker, in_threads, look_up
from dataprep.faults import Failure, attempt
from dataprep.pictures.decode import decode_png

LOOKED_AT = 64  # rows
SECONDS = 60.0  # after which no further cell is looked at: a store may answer slowly, or no more
ENOUGH = 8  # values, below which a column is not judged
LEAST_INK, MOST_INK = 0.001, 0.4  # of a page: less than 0.1 % is a blank one, more than 40 % is no line art


@dataclass(frozen=True)
class ColumnLook:
    """What `values` cells of one column show.

    `constant`: the share of them that are one value all over. `ink`: of each sketch the share of its page that is ink,
    0 to 1, in rising order; empty for masks and region maps.
    """

    column: str
    values: int
    constant: float
    ink: tuple[float, ...] = ()

    @property
    def blank(self) -> float:
        """The share of the sketches with hardly any ink."""
        return sum(share < LEAST_INK for share in self.ink) / max(1, len(self.ink))

    @property
    def solid(self) -> float:
        """The share of the sketches with more ink than line art has."""
        return sum(share > MOST_INK for share in self.ink) / max(1, len(self.ink))

    @property
    def worthless(self) -> str:
        """What is wrong with more than half of the values, in words; "" where nothing is."""
        if self.values < ENOUGH:
            return ""
        for share, what in (
            (self.blank, "are blank: less than 0.1 % ink"),
            (self.solid, "are no line art: more than 40 % ink"),
            (self.constant, "are one value all over"),
        ):
            if share > 0.5:
                return f"{100 * share:.0f} % of {self.values} values looked at {what}"
        return ""

    def percentile(self, percent: float) -> float:
        """Of the ink."""
        return float(np.percentile(self.ink, percent))

    def document(self) -> dict[str, Any]:
        """JSON-able; the ink as the median and the 5th and 95th percentile."""
        known: dict[str, Any] = {"values": self.values, "constant": round(self.constant, 4)}
        if self.ink:
            known |= {f"ink_{percent}": round(self.percentile(percent), 5) for percent in (5, 50, 95)}
            known |= {"blank": round(self.blank, 4), "solid": round(self.solid, 4)}
        return known | {"worthless": self.worthless}


def look(snapshot: Snapshot, seed: int = 0) -> list[ColumnLook]:
    """Every column of pictures beside the colours, on at most LOOKED_AT rows."""
    return look_at(RowPicker(snapshot), look_up(snapshot, LOOKED_AT, (), seed).picked, snapshot.document["operators"])


def look_at(
    picker: RowPicker, places: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], seconds: float = SECONDS
) -> list[ColumnLook]:
    """The same on the rows at these places. Cells without a value, those that cannot be read, and those that are not
    reached within `seconds`, do not count."""
    until = time.monotonic() + seconds
    wanted = [column for column in columns if is_sketch(column) or column.endswith("mask") or column == "region_map"]
    cells = [(dict(place), column) for place in places for column in wanted]
    seen: dict[str, list[tuple[bool, float]]] = {column: [] for column in wanted}
    measured = in_threads(lambda cell: _measured(picker, *cell) if time.monotonic() < until else None, cells)
    for (_, column), found in zip(cells, measured, strict=True):
        seen[column] += [found] if found else []
    return [
        ColumnLook(
            column,
            len(found),
            sum(constant for constant, _ in found) / len(found),
            tuple(sorted(ink for _, ink in found)) if is_sketch(column) else (),
        )
        for column, found in seen.items()
        if found
    ]


def is_sketch(column: str) -> bool:
    """Whether a column holds line art, by its name."""
    return column.startswith("sketch_") and not column.endswith("mask")


def _measured(picker: RowPicker, place: dict[str, Any], column: str) -> tuple[bool, float] | None:
    """(is it one value all over, the mean of its ink) of one cell."""
    value = picker.cell(place, column).value
    pixels = None if value is None else attempt(partial(decode_png, value))
    if pixels is None or isinstance(pixels, Failure):
        return None
    return bool((pixels == pixels.flat[0]).all()), 1.0 - float(cv2.mean(pixels)[0]) / 255.0
