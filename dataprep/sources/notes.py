"""What a listing finds out beside its items: what each source was read as, and facts that could not be read."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MOST_SHOWN = 60


@dataclass(frozen=True)
class ReadAs:
    """What a source was taken for, and by what; `not_read`: what lies there and says something that is not used."""

    source: str
    layout: str
    why: str
    not_read: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceFacts:
    """What a build reports of its sources: what each was read as, fact -> values that could not be read, an example."""

    read_as: tuple[ReadAs, ...] = ()
    unread_facts: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Notes:
    """Grows while sources are listed, from any thread.

    `unread_facts`: fact -> values of it that could not be read; `examples`: fact -> one of them and its place.
    """

    read_as: list[ReadAs] = field(default_factory=list)
    unread_facts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def unreadable(self, fact: str, value: Any, where: str) -> None:
        """Count one value; of all examples the first by its place stays, whichever thread was sooner."""
        shown = value if isinstance(value, Exception) else repr(value)
        example = f"{where}: {str(shown)[:_MOST_SHOWN]}"
        with self._lock:
            self.unread_facts[fact] += 1
            self.examples[fact] = min(example, self.examples.get(fact, example))

    def reported(self) -> SourceFacts:
        """All of it, in an order that does not depend on threads."""
        return SourceFacts(
            tuple(self.read_as), dict(sorted(self.unread_facts.items())), dict(sorted(self.examples.items()))
        )
