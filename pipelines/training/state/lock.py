"""One run at a time writes an output: a lock that says who holds it, and is renewed while its holder lives.

Each holder creates `.lock/<n>.json` exclusively, with n one above those that are there; the highest holds the output.
So two that come at once, on disk or on S3, cannot both have it, and who finds a dead one takes its place by the next
number. A holder on this machine is dead as soon as its process is; elsewhere, when it has not renewed its file for
STALE_S by the clock of the store, which no clock of a machine enters. A run that hung for longer and was replaced finds
out before it writes its next state (`is_held`).
"""

import json
import os
import platform
import re
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from dataprep.documents import read_document
from dataprep.errors import DataError
from dataprep.storage.store import (
    FileEntry,
    create_exclusive,
    delete_files,
    file_entry,
    is_s3,
    join,
    list_folder,
    remove,
    write_whole,
)
from pipelines.common.errors import PipelineError

FOLDER = ".lock"
RENEW_S, STALE_S = 10.0, 60.0
_FILE = re.compile(r"\d{8}\.json")


@dataclass(frozen=True)
class Holder:
    """Who holds an output. place: a machine since it was started, and its space of process ids (a container's own);
    started_s: of the process, in seconds since 1970."""

    token: str
    host: str
    place: str
    pid: int
    started_s: float
    since: str

    def __post_init__(self) -> None:
        if self.pid < 0:
            raise ValueError(f"pid should be that of a process, not {self.pid}")

    @classmethod
    def this_process(cls) -> "Holder":
        """A new holder that is this process."""
        started_s = psutil.Process().create_time()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(uuid.uuid4().hex, platform.node(), _place(), os.getpid(), started_s, since)

    def is_alive_here(self) -> bool:
        """Whether its process runs; only of a holder at this place."""
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.started_s) < 1
        except psutil.NoSuchProcess:
            return False


@contextmanager
def locked(out: str) -> Iterator[str]:
    """Hold the output `out` until the block ends; gives the holder's token.

    Raises PipelineError where another run that lives holds it.
    """
    holder = Holder.this_process()
    uri, ended = _take(out, holder), threading.Event()
    thread = threading.Thread(target=_renew, args=(out, uri, holder, ended), name="output lock", daemon=True)
    thread.start()
    try:
        yield holder.token
    finally:
        ended.set()
        thread.join()
        if is_held(out, holder.token):
            remove(uri)
            if not is_s3(out):
                with suppress(OSError):  # another run has begun to ask for it
                    os.rmdir(join(out, FOLDER))


def check_free(out: str) -> None:
    """PipelineError where a run that lives holds the output: an answer before anything heavy is imported."""
    _refuse_second(out, _files(out))


def is_held(out: str, token: str) -> bool:
    """Whether the holder with this token still holds the output."""
    files = _files(out)
    found = _holder(files[-1].uri) if files else None
    return found is not None and found.token == token


def _take(out: str, holder: Holder) -> str:
    files = _files(out)
    _refuse_second(out, files)
    number = int(Path(files[-1].uri).stem) + 1 if files else 1
    uri = join(out, FOLDER, f"{number:08d}.json")
    if not create_exclusive(uri, _written(holder)):
        raise PipelineError(f"{out} is being written by another run, which began at the same moment")
    delete_files([file.uri for file in files])
    return uri


def _refuse_second(out: str, files: Sequence[FileEntry]) -> None:
    if files and (found := _holder(files[-1].uri)) is not None and (why := _living(found, files[-1])):
        raise PipelineError(
            f"{out} is being written by another run (process {found.pid} on {found.host}, since {found.since}): {why}"
        )


def _renew(out: str, uri: str, holder: Holder, ended: threading.Event) -> None:
    """Write the file again while it is this holder's."""
    while not ended.wait(RENEW_S):
        with suppress(DataError):  # a store that is away: if for too long, `is_held` tells
            if not is_held(out, holder.token):
                return
            write_whole(uri, _written(holder))


def _living(holder: Holder, file: FileEntry) -> str:
    """Why the holder counts as living, and what to do; "" for one that is dead."""
    if holder.place == _place():
        return "wait for its end, stop it, or choose another --out" if holder.is_alive_here() else ""
    age_s = _now_s(file.uri) - file.modified_s
    if age_s >= STALE_S:
        return ""
    return (
        f"it gave a sign of life {max(age_s, 0):.0f} s ago. Stop it, or choose another --out; "
        f"if it is dead already, run this again in {STALE_S - age_s:.0f} s"
    )


def _now_s(beside: str) -> float:
    """The time by the clock of the store."""
    probe = f"{beside}.{uuid.uuid4().hex}"
    write_whole(probe, b"")
    entry = file_entry(probe)
    remove(probe)
    assert entry is not None
    return entry.modified_s


def _files(out: str) -> list[FileEntry]:
    found = list_folder(join(out, FOLDER))[1]
    return [file for file in found if _FILE.fullmatch(file.uri.rpartition("/")[2])]


def _holder(uri: str) -> Holder | None:
    """Who wrote the file; None where it is gone or says nothing."""
    try:
        return read_document(uri, Holder)
    except DataError:
        return None


def _written(holder: Holder) -> bytes:
    return json.dumps(asdict(holder), indent=2).encode()


def _place() -> str:
    """This machine since it was started, and the space of its process ids."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), "/proc/self/ns/pid"
    if not boot.exists():
        return platform.node()
    return f"{platform.node()} {boot.read_text().strip()} {os.readlink(space)}"
