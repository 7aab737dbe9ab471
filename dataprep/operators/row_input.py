"""What an operator sees of a row, and what it may give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.pictures.canvas import Placement
from dataprep.pictures.decode import Picture

Gray = npt.NDArray[np.uint8]
Value = bytes | npt.NDArray[Any] | None  # a PNG, or an array that becomes one; None: the row has none


@dataclass(frozen=True)
class RowInput:
    """What an operator sees of one row: the source bytes, the decoded picture, and the columns it asked for."""

    id: str
    data: bytes
    picture: Picture
    drawn_sketch: bytes | None = None
    mask: bytes | None = None
    columns: Mapping[str, bytes | None] = field(default_factory=dict)
    placement: Placement | None = None  # how `picture` lies on its canvas; drawn sketch and mask are not placed yet
