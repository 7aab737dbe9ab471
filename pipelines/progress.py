"""What long work tells the person who waits: one small value, sent often; how it is shown is the door's business."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far one stage is: `done` of `total` in `unit`, `rate` in units a second where known, and a short note."""

    stage: str
    done: int
    total: int
    unit: str = "rows"
    rate: float | None = None
    note: str = ""


ProgressSink = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """The sink of work that nobody watches."""
