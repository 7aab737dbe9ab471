"""The outbox of one piece of work: everything that MLflow shall know of it, as JSON lines, before it is sent.

A line is a record with its number, or what became of records: the id of the run in MLflow, and up to which number all
are sent. Lines are only ever appended; a line that was torn by a crash is passed over. When everything is sent the file
goes. An outbox may come with a copied result: what a line says is checked, and one that says something else counts as
damaged. Beside a local output it lies in `OUT/tracking`; for an output on S3, where nothing can be appended, in
`irodori-logs/tracking` of the working directory, and what is still there at the end is copied to `OUT/tracking`.
"""

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NotRequired, TypedDict

from dataprep.documents import DocumentError, checked, parse_json
from dataprep.storage.store import exists, is_s3, join, list_folder, read_bytes, remove, write_whole
from pipelines.common.log_folder import log_folder
from pipelines.tracking.file_lock import hold

FOLDER = "tracking"
FORMAT = 1
LINEAGE = "lineage.json"
MOST_LINEAGE_BYTES = 16 << 20
Record = Mapping[str, Any]


class Opening(TypedDict):
    """What a piece of work is; the first record."""

    format: NotRequired[int]
    store: str  # without its password
    out: str
    name: str
    params: dict[str, str]
    tags: dict[str, str]
    started_ms: int


class _Opened(TypedDict):
    n: int
    open: Opening


class _Metrics(TypedDict):
    n: int
    metrics: dict[str, Any]  # numbers, those too that are none of JSON's: NaN and infinities
    step: int
    at_ms: int


class _Upstream(TypedDict):
    kind: str
    run_id: str


class _Parent(TypedDict):
    n: int
    parent: _Upstream


class _Dataset(TypedDict):
    uri: str
    snapshot: int | None
    digest: str


class _Read(TypedDict):
    n: int
    input: _Dataset


class _File(TypedDict):
    name: Literal["lineage.json"]
    document: dict[str, Any]


class _Artifact(TypedDict):
    n: int
    artifact: _File


class _Version(TypedDict):
    name: str
    source: str
    tags: dict[str, str]


class _Model(TypedDict):
    n: int
    model: _Version


class _Ended(TypedDict):
    n: int
    end: Literal["FINISHED", "FAILED", "KILLED"]
    at_ms: NotRequired[int | None]


class _Mark(TypedDict):
    """What became of records."""

    run_id: NotRequired[str | None]
    sent: NotRequired[int]


_KINDS: Mapping[str, type[Any]] = {
    "open": _Opened,
    "metrics": _Metrics,
    "parent": _Parent,
    "input": _Read,
    "artifact": _Artifact,
    "model": _Model,
    "end": _Ended,
}


def outbox_folder(out: str) -> Path:
    """Where the outboxes of an output are appended to."""
    if not is_s3(out):
        return Path(out) / FOLDER
    return log_folder(out) / FOLDER / hashlib.sha256(out.encode(errors="surrogateescape")).hexdigest()[:16]


@dataclass
class Contents:
    """What the lines of an outbox say: records by number, the run that they belong to, and what is sent already."""

    records: list[dict[str, Any]] = field(default_factory=list)
    run_id: str | None = None
    sent: int = -1  # the last number that is sent
    damaged: int = 0  # lines that cannot be read

    @classmethod
    def of(cls, data: bytes) -> "Contents":
        """Of the bytes of the file."""
        contents = cls()
        for line in data.splitlines():
            contents._take(line)
        return contents

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            entry = parse_json(line, "outbox", file_names=True)
            if isinstance(entry, dict) and "n" in entry:
                self.records.append(_record(entry))
                return
            mark = checked(entry, _Mark, "outbox")
        except DocumentError:
            self.damaged += 1
            return
        self.run_id = mark.get("run_id", self.run_id)
        self.sent = mark.get("sent", self.sent)

    @property
    def opening(self) -> Opening | None:
        """The record that says what the work is; None where the file has none."""
        return next((record["open"] for record in self.records if "open" in record), None)

    @property
    def is_ended(self) -> bool:
        return bool(self.records) and "end" in self.records[-1]

    def unsent(self) -> list[dict[str, Any]]:
        return [record for record in self.records if record["n"] > self.sent]


def _record(entry: dict[str, Any]) -> dict[str, Any]:
    """A record of one of _KINDS. Raises DocumentError for anything else."""
    kind = next((shape for key, shape in _KINDS.items() if key in entry), None)
    if kind is None:
        raise DocumentError("outbox: a record of no known kind")
    record: dict[str, Any] = checked(entry, kind, "outbox")
    for name, value in record.get("metrics", {}).items():
        if not isinstance(value, float):  # NaN is one
            checked(value, int | bool, f"outbox: {name}")  # type: ignore[arg-type]  # a union is a type, too
    return record


class Outbox:
    """One file, held by one process at a time. Threads may append; a file that cannot be written costs its own lines,
    never the work: `trouble` says why then, and the records are held in memory."""

    def __init__(self, path: Path, out: str) -> None:
        """Raises BlockingIOError where another process holds it, OSError where it cannot be opened."""
        self.path, self.out = path, out
        self.trouble: str | None = None
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("a+b", buffering=0)
        try:
            hold(self._file)
        except BlockingIOError:
            self._file.close()
            raise
        self.contents = self._read()
        if not path.exists():  # removed by its holder between opening and locking
            self._file.close()
            raise BlockingIOError(f"{path} is gone")

    def _read(self) -> Contents:
        self._file.seek(0)
        data = self._file.read()
        if data and not data.endswith(b"\n"):
            self._file.write(b"\n")  # behind a line that was torn
        return Contents.of(data)

    def record(self, record: Record) -> None:
        """Append a record under the next number."""
        with self._lock:
            number = self.contents.records[-1]["n"] + 1 if self.contents.records else 0
            entry = {"n": number, **record}
            self.contents.records.append(entry)
            self._append(entry)

    def belongs_to(self, run_id: str) -> None:
        """The run in MLflow; nothing is sent to it yet."""
        with self._lock:
            self.contents.run_id, self.contents.sent = run_id, -1
            self._append({"run_id": run_id, "sent": -1})

    def is_sent(self, number: int) -> None:
        """All records up to this one are in MLflow."""
        with self._lock:
            self.contents.sent = number
            self._append({"sent": number})

    def unsent(self) -> list[dict[str, Any]]:
        with self._lock:
            return self.contents.unsent()

    def close(self) -> None:
        """Let the file go, and remove it where nothing is left to be sent."""
        with self._lock:
            if not self.contents.unsent():
                self.path.unlink(missing_ok=True)
                for folder in (self.path.parent, self.path.parent.parent):
                    if not _removed_empty(folder, FOLDER):
                        break
            self._file.close()

    def _append(self, entry: Record) -> None:
        try:
            self._file.write(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            self.trouble = f"{self.path}: {error.strerror}"


def new_outbox(out: str) -> Outbox:
    """An outbox for new work. Raises OSError where there is no place for one."""
    return Outbox(outbox_folder(out) / f"{uuid.uuid4().hex}.jsonl", out)


def outboxes(out: str) -> tuple[list[Outbox], list[Contents]]:
    """The outboxes of an output that no process holds, now held by this one, the oldest first; and what is in those
    that are held: work that goes on."""
    free, taken = [], []
    for path in _files(out):
        try:
            free.append(Outbox(path, out))
        except BlockingIOError:
            taken.append(_contents(path))
    return free, taken


def held(out: str) -> list[Contents]:
    """What is in the outboxes that are held: work that goes on."""
    return [contents for contents in map(_contents_if_held, _files(out)) if contents is not None]


def _files(out: str) -> list[Path]:
    folder = outbox_folder(out)
    return sorted(folder.glob("*.jsonl"), key=lambda path: (path.stat().st_mtime, path.name)) if folder.is_dir() else []


def _contents(path: Path) -> Contents:
    """Nothing where the file is gone: its holder has sent everything."""
    try:
        return Contents.of(path.read_bytes())
    except FileNotFoundError:
        return Contents()


def _contents_if_held(path: Path) -> Contents | None:
    try:
        with path.open("rb") as file:
            hold(file)
    except BlockingIOError:
        return _contents(path)
    except FileNotFoundError:
        return None
    return None


def hand_over(out: str) -> None:
    """Copy the outboxes of an output on S3 to it, so that they can be sent from any machine."""
    for path in sorted(outbox_folder(out).glob("*.jsonl")) if is_s3(out) else []:
        write_whole(join(out, FOLDER, path.name), path.read_bytes())


def fetch(out: str) -> None:
    """Bring the outboxes of an output on S3 here, those that are not here already."""
    for entry in list_folder(join(out, FOLDER))[1] if is_s3(out) else []:
        path = outbox_folder(out) / entry.uri.rpartition("/")[2]
        if path.suffix == ".jsonl" and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(read_bytes(entry.uri))


def forget(out: str, name: str) -> None:
    """Remove the copy of an outbox from an output on S3: everything of it is sent."""
    if is_s3(out) and exists(join(out, FOLDER, name)):
        remove(join(out, FOLDER, name))


def _removed_empty(folder: Path, upto: str) -> bool:
    """Remove an empty folder that is ours; whether the one above may be, too."""
    try:
        os.rmdir(folder)
    except OSError:  # somebody else's outbox lies there
        return False
    return folder.name != upto
