"""What a disturbance did to the work that it met, counted by the test that disturbs, for `benchmarks.drills`."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

PROPERTY = "survived"  # of a test, in pytest's JUnit report


@dataclass(frozen=True)
class Fault:
    """One line of the table of faults survived."""

    kind: str  # of the disturbance: "worker killed", "disk full"
    work: str  # what it met: "corpus build", "training", "colorize", "evaluate", "tracking"
    tries: int
    lost: int  # units of work (rows, images, pictures, records) that are missing beside undisturbed work
    doubled: int  # units that are there twice, or were counted twice


class Survived:
    """Hands the counts of a test to pytest's report. Counts are measured against undisturbed work, never assumed."""

    def __init__(self, record_property: Callable[[str, object], None]) -> None:
        self._record = record_property

    def __call__(self, kind: str, *, work: str, lost: int, doubled: int, tries: int = 1) -> None:
        """Record a disturbance that the test has just measured; a test may record several."""
        self._record(PROPERTY, json.dumps(asdict(Fault(kind, work, tries, lost, doubled))))
