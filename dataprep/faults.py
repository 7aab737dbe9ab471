"""What can go wrong with one picture, as a value: a reason from a fixed vocabulary and one line for a person.

A failed cell says "<reason>: <message>" in its column's `error`, a picture that the scan refuses has the two apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import cv2

from dataprep.errors import DataError

# Why a cell has no value, or a picture is refused for another cause than its content.
REASONS = {
    "raised": "the code refused the picture or broke on it",
    "refused": "the source cannot be trusted with it: a link, a bomb, a damaged archive",
    "timeout": "a call took longer than limits.seconds_per_picture",
    "out-of-memory": "a call wanted more than limits.memory_bytes",
    "crashed": "the worker process died twice on it",
    "wrong-size": "the value is not of the picture's size",
    "not-finite": "the value holds NaN or infinity",
    "bad-output": "the value is not what the operator declares",
}

Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Why something could not be done: one of REASONS and one line."""

    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class Fault(DataError):
    """A failure that knows its reason, for code that finds one by looking."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def attempt(work: Callable[[], Result]) -> Result | Failure:
    """The one place where the failure of one picture is caught, whatever it is: it must never stop a build."""
    try:
        return work()
    except Exception as error:  # decoders and operators of many libraries: no common class below this one
        return _failure(error)


def _failure(error: Exception) -> Failure:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, Fault):
        return Failure(error.reason, line)
    if isinstance(error, DataError):
        return Failure("raised", line)
    reason = "out-of-memory" if _wanted_memory(error) else "raised"
    return Failure(reason, line if line == type(error).__name__ else f"{type(error).__name__}: {line}")


def _wanted_memory(error: Exception) -> bool:
    """OpenCV and torch have errors of their own for what Python calls MemoryError."""
    if isinstance(error, cv2.error):
        return getattr(error, "code", None) == cv2.Error.StsNoMem
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "OutOfMemory" in repr(error)
