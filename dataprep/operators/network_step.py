"""The three steps in which a network meets pictures; no network lives here, nor where one runs."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from dataprep.operators.row_input import RowInput, Value

Planes = npt.NDArray[np.float32]


class NetworkStep(Protocol):
    """What a learned operator does to rows; pictures of one input size share `run`."""

    def load(self) -> None:
        """Bring the network into this process, where it stays; may take minutes. Raises DataError where it cannot."""
        ...

    def prepare(self, row: RowInput) -> Planes | None:
        """What the row feeds the network, (C, h, w) float32; None where the network is not asked."""
        ...

    def without_network(self, row: RowInput) -> Value:
        """The value of a row of which the network is not asked; None where it has none."""
        ...

    def run(self, batch: Planes) -> npt.NDArray[np.float32]:
        """(N, C, h, w) -> (N, ...)."""
        ...

    def finish(self, row: RowInput, output: npt.NDArray[np.float32]) -> Value:
        """The row's value from its (...) of the output."""
        ...
