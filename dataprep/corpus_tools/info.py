"""The corpus on disk or on S3, as everybody but its builder sees it: open a snapshot, ask what it holds, check it."""

from typing import Any

from dataprep.corpus.snapshot import Snapshot, open_snapshot
from dataprep.corpus_tools.verify import verify

__all__ = ["Snapshot", "info", "open_snapshot", "verify"]


def info(uri: str, number: int | None = None) -> dict[str, Any]:
    """What a snapshot (the newest by default) holds, JSON-able. Raises DataError where there is none.

    snapshot, digest; rows: split -> count; rejects: reason -> count; failures: column -> rows without a value;
    failure_reasons: column -> reason -> rows; operators: column -> fingerprint; bytes of its files; sources; listed:
    pictures of the sources, those not_selected by rule, files not_taken by kind, litter, and the notes of pictures.
    """
    document = open_snapshot(uri, number).document
    facts = {name: document[name] for name in ("snapshot", "digest", "rows", "rejects", "failures", "bytes", "sources")}
    facts |= {name: document.get(name, {}) for name in ("failure_reasons", "listed")}
    return facts | {"operators": {column: known["fingerprint"] for column, known in document["operators"].items()}}
