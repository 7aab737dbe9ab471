"""What long work reports to whoever waits: one small value, sent often: how it is shown is the door's business.

What happens seldom and should be read (an engine that was started again, machines that are waited for) is a line of the
logger NOTICES, which the door shows beside progress.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

NOTICES = logging.getLogger("irodori")


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


class Clock:
    """Tells the progress of one stage with the rate since it began; `note` stands where a call gives none."""

    def __init__(self, stage: str, total: int, unit: str, note: str, progress: ProgressSink) -> None:
        self._stage, self._total, self._unit, self._note, self._progress = stage, total, unit, note, progress
        self._started = time.monotonic()
        self.tell(0)

    def tell(self, done: int, note: str = "") -> None:
        elapsed_s = time.monotonic() - self._started
        rate = done / elapsed_s if done and elapsed_s > 0 else None
        self._progress(Progress(self._stage, done, self._total, self._unit, rate, note or self._note))
