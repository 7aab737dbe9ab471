"""Removes from a corpus what no kept snapshot names: garbage collection, the only thing that ever deletes its files.

A build that runs writes files that no snapshot names yet, and takes up files that an earlier, unfinished build left. So
whatever is younger than a grace time stays, and while anything under way in `data/`, `plan/` or `scan/` is that young,
all of them stays. Snapshot documents go first, then their tables, then data: a crash in between leaves files
that nobody names, and the next run removes them. Only names that this package writes are ever touched.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataprep.corpus.snapshot import open_snapshot, snapshot_numbers
from dataprep.errors import DataError
from dataprep.storage import store as storage
from dataprep.storage.store import FileEntry

GRACE_HOURS = 24.0
SCAN = "scan caches"
STATISTICS, STATISTICS_FOLDER = "statistics of real pictures", "statistics"

# What a path below the corpus is, in the order in which kinds are deleted. Anything else is not ours to touch.
KINDS = {
    "snapshots": re.compile(r"snapshots/(\d+)\.json"),
    "snapshot tables": re.compile(r"snapshots/\d+-\w+-[0-9a-f]+\.parquet"),
    "rejects tables": re.compile(r"rejects/[0-9a-f]+\.parquet"),
    "data files": re.compile(r"data/.+\.parquet"),
    "plan files": re.compile(r"plan/.+"),
    SCAN: re.compile(r"scan/.+\.parquet"),
    # of real pictures, as evaluations keep them; their names begin with the digest of their snapshot
    STATISTICS: re.compile(rf"{STATISTICS_FOLDER}/[0-9a-f]{{12}}-[0-9a-f]+\.npz"),
}
UNFINISHED = "unfinished writes"
_OWN_PARTIAL = re.compile(r".+\.[0-9a-f]{32}\.partial")  # as dataprep.storage names them; others are somebody else's
_IN_USE_TOGETHER = ("data files", "plan files", SCAN)  # of these a running build uses old ones together with new ones


@dataclass(frozen=True)
class Tally:
    """Files of one kind."""

    files: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, entries: Sequence[FileEntry]) -> "Tally":
        return cls(len(entries), sum(entry.size for entry in entries))


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """What can go, by kind in the order of deletion, and what no snapshot names but stays for now."""

    uri: str
    kept: tuple[int, ...]  # snapshots that stay
    dropped: tuple[int, ...]  # snapshots that go
    grace_hours: float
    removable: Mapping[str, Sequence[FileEntry]] = field(default_factory=dict)
    young: Mapping[str, Sequence[FileEntry]] = field(default_factory=dict)
    scan_caches: Tally = Tally()  # kept unless asked for

    def remove(self) -> None:
        """Delete it, whole kinds one after another."""
        for entries in self.removable.values():
            storage.delete_files([entry.uri for entry in entries])

    def document(self) -> dict[str, Any]:
        """JSON-able: uri, kept, dropped; remove and keep_for_now: kind -> {files, bytes}; scan_caches."""
        return {
            "uri": self.uri,
            "kept_snapshots": list(self.kept),
            "dropped_snapshots": list(self.dropped),
            "grace_hours": self.grace_hours,
            "remove": {kind: vars(Tally.of(entries)) for kind, entries in self.removable.items()},
            "keep_for_now": {kind: vars(Tally.of(entries)) for kind, entries in self.young.items()},
            "scan_caches": vars(self.scan_caches),
        }

    def summary(self, removed: bool) -> str:
        """A few lines for a person."""
        every = Tally.of([entry for entries in self.removable.values() for entry in entries])
        verb = "removed" if removed else "would remove"
        head = f"{self.uri}: {verb} {_described(every)}; {_snapshots(self.kept)} kept"
        lines = [f"{head}, {_snapshots(self.dropped)} dropped" if self.dropped else head]
        lines += [f"  {kind}: {_described(Tally.of(entries))}" for kind, entries in self.removable.items()]
        lines += [
            f"  {kind} kept for now: {_described(Tally.of(entries))}, since a build may be using them "
            f"(something was written within {self.grace_hours:g} hours; --older-than sets this)"
            for kind, entries in self.young.items()
        ]
        if self.scan_caches.files:
            lines.append(
                f"  {SCAN} kept: {_described(self.scan_caches)}; builds read them instead of pictures (--scan)"
            )
        return "\n".join(lines)


def find_garbage(
    uri: str,
    *,
    keep: int | None = None,
    grace_hours: float = GRACE_HOURS,
    with_scan: bool = False,
    now_s: float | None = None,
) -> Garbage:
    """What can be removed at `uri` when the `keep` newest snapshots (all by default) stay; removes nothing itself.

    Raises DataError where there is no corpus, or a snapshot that stays is damaged: then nobody knows what it names.
    ValueError unless keep is at least 1 and grace_hours at least 0.
    """
    if keep is not None and keep < 1:
        raise ValueError(f"keep must be at least 1: the newest snapshot always stays, got {keep}")
    if grace_hours < 0:
        raise ValueError(f"grace_hours must be at least 0, got {grace_hours}")
    now_s = time.time() if now_s is None else now_s
    entries = storage.list_files(uri)  # before the snapshots are read: what is committed from now on is not in it
    unfinished = [entry for entry in storage.list_unfinished(uri) if _OWN_PARTIAL.fullmatch(Path(entry.uri).name)]
    numbers = snapshot_numbers(uri)
    if not numbers:
        raise DataError(f"{uri}: there is no corpus here, so nothing tells what may go. Nothing was removed.")
    kept = tuple(numbers[-keep:] if keep else numbers)
    dropped = tuple(number for number in numbers if number not in kept)
    found = _unnamed(uri, entries, kept, dropped)
    found[UNFINISHED] = unfinished
    removable, young = _by_age(found, now_s - grace_hours * 3600)  # scan caches show a build, removed or not
    left = Tally() if with_scan else Tally.of(removable.pop(SCAN, []) + young.pop(SCAN, []))
    return Garbage(
        uri=uri,
        kept=kept,
        dropped=dropped,
        grace_hours=grace_hours,
        removable=removable,
        young=young,
        scan_caches=left,
    )


def _unnamed(
    uri: str, entries: Iterable[FileEntry], kept: Iterable[int], dropped: Sequence[int]
) -> dict[str, list[FileEntry]]:
    """Kind -> files that no kept snapshot names; of snapshot documents those that are dropped."""
    named, digests = _named(uri, kept), {open_snapshot(uri, number).digest[:12] for number in kept}
    going = {f"snapshots/{number}.json" for number in dropped}
    found: dict[str, list[FileEntry]] = {kind: [] for kind in KINDS}
    base = f"{uri.rstrip('/') if storage.is_s3(uri) else Path(uri)}/"
    for entry in entries:
        path = entry.uri.removeprefix(base)
        kind = next((kind for kind, pattern in KINDS.items() if pattern.fullmatch(path)), None)
        if kind == STATISTICS and path.removeprefix(f"{STATISTICS_FOLDER}/").partition("-")[0] in digests:
            continue
        if kind is not None and path not in named and (kind != "snapshots" or path in going):
            found[kind].append(entry)
    return found


def _named(uri: str, kept: Iterable[int]) -> set[str]:
    """Every path that a kept snapshot names. Raises DataError where one cannot be read."""
    paths: set[str] = set()
    for number in kept:
        snapshot = open_snapshot(uri, number)
        paths |= {f"snapshots/{number}.json"} | {table["path"] for table in snapshot.document["tables"].values()}
        for batch in snapshot.batches("files", ["path"]):
            paths.update(batch["path"].to_pylist())
    return paths


def _by_age(
    found: Mapping[str, list[FileEntry]], limit_s: float
) -> tuple[dict[str, list[FileEntry]], dict[str, list[FileEntry]]]:
    """(what was written before the limit, what stays for now). Dropped snapshots go at any age: somebody asked."""
    busy = any(entry.modified_s > limit_s for kind in _IN_USE_TOGETHER for entry in found.get(kind, ()))
    removable: dict[str, list[FileEntry]] = {}
    young: dict[str, list[FileEntry]] = {}
    for kind, entries in found.items():
        for entry in entries:
            stays = busy if kind in _IN_USE_TOGETHER else kind != "snapshots" and entry.modified_s > limit_s
            (young if stays else removable).setdefault(kind, []).append(entry)
    return removable, young


def _described(tally: Tally) -> str:
    return f"{tally.files:,} {'file' if tally.files == 1 else 'files'}, {_size(tally.bytes)}"


def _size(count: int) -> str:
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:,.0f} {units[0]}" if units[0] == "bytes" else f"{value:,.1f} {units[0]}"


def _snapshots(numbers: Sequence[int]) -> str:
    return f"{len(numbers):,} {'snapshot' if len(numbers) == 1 else 'snapshots'}"
