"""One row of a table: what it says, or why it says nothing."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BadRow:
    """Why a row cannot be read."""

    why: str


TableRow = tuple[str, dict[str, Any] | BadRow]  # its place in the file ("line 3"), and its columns


class TooLong:
    """Stands for a cell that is longer than what is read."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __repr__(self) -> str:
        return f"a value of {self._size:,} bytes"
