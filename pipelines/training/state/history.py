"""The history of a run: one JSON record a line, for each step, each validation and each replaced sample.

A file of it may come from elsewhere, so it is read as untrusted: what everything else relies on is checked here.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from dataprep.documents import checked, json_lines

HISTORY = "history.jsonl"


class _Record(TypedDict):
    """What is relied on; further entries are measurements."""

    images_seen: int
    loss: NotRequired[float]  # of a step
    replaced: NotRequired[list[Any]]  # samples of it whose planned row could not be used


def written_history(history: Sequence[Mapping[str, Any]]) -> bytes:
    """One record a line."""
    return "".join(json.dumps(record) + "\n" for record in history).encode()


def parsed_history(data: bytes, where: str) -> list[dict[str, Any]]:
    """The records; `where` names the file. Raises DocumentError, which names the line and the key."""
    records = json_lines(data, where)
    return [dict(checked(record, _Record, f"{where}, record {number}")) for number, record in enumerate(records, 1)]
