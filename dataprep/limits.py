"""Limits of time and memory around everything that is done to one picture, and a memory of what ended a process.

Three nets, one below the other. Python code that passes `seconds_per_picture` is interrupted (SIGALRM), and an
allocation beyond `memory_bytes` fails (RLIMIT_DATA above what the process holds already): both become a Failure of that
one call. C code that hangs cannot be interrupted: a timer outside of Python ends the process, between one and two
limits later and only where the process is a worker that its engine replaces (`expendable`). And a process may die
without a word (a segmentation fault, the kernel's out-of-memory killer). For these two, a worker notes in a local file
what it is about to do; the next worker on that machine publishes the note below the corpus, and whoever tries the task
again finds the call named there and does not repeat it: after one hang, or after two deaths on the same call. So every
task ends, and one picture costs each machine at most two workers.

A picture with six calls costs the limits 0.1 to 0.2 milliseconds. Away from the main thread there is no interruption,
away from Linux no limit of memory.
"""

import faulthandler
import fcntl
import glob
import json
import os
import resource
import signal
import stat
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from dataprep.documents import read_document
from dataprep.faults import Failure, attempt
from dataprep.storage import store as storage

GRACE_S = 2.0  # after its limit, Python code has this long to be interrupted before the process ends
DEATHS = 2  # so many processes end on a call before it is held guilty
_NOTE_BYTES = 1024
_MOST_RECORD_BYTES = 1 << 16

Result = TypeVar("Result")


@dataclass(frozen=True)
class LimitSettings:
    """What one picture may cost; no part of any fingerprint."""

    seconds_per_picture: float = 60.0  # each call: decoding, and each operator but for the pass of a network
    memory_bytes: int = 4 << 30  # beyond what the process holds before it takes up the picture
    seconds_per_pass: float = 900.0  # of a network, over one picture or a batch: minutes for large ones on a CPU

    def __post_init__(self) -> None:
        for name in ("seconds_per_picture", "seconds_per_pass"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.memory_bytes < 1 << 20:
            raise ValueError(f"memory_bytes must be at least 1 MiB, got {self.memory_bytes}")


class FatalCall(TypedDict):
    """What a process was doing when it ended: `hung` where its timer ended it after `seconds`."""

    call: str
    seconds: float
    hung: bool


class Limiter:
    """Runs the calls of one task under `limits`; `folder` is where the task's fatal calls are recorded."""

    def __init__(self, limits: LimitSettings, folder: str) -> None:
        self.limits = limits
        self._folder = folder
        self._fatal = fatal_calls(folder, limits)
        self._timer_s = 0.0  # when the process will end, on time.monotonic; 0 = never
        self._budget = limits.memory_bytes

    @contextmanager
    def picture(self, room: int = 0) -> Iterator[None]:
        """What is done to one picture; reading and writing belong outside, they wait for stores.

        room: bytes that may be held besides, of other pictures that are worked on with it.
        """
        self._budget = self.limits.memory_bytes + room
        with memory_limit(self._budget):
            try:
                yield
            finally:
                self._stop_timer()
                if _journal is not None:
                    _journal.write(None)

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Memory without our limit, inside of `picture`; what is held at its end counts as held before."""
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (_ceiling(self._budget, (hard,)), hard))

    def call(self, name: str, work: Callable[[], Result], seconds: float | None = None) -> Result | Failure:
        """`work()`, or why there is no result; `name` is the same in every try of the task. Inside of `picture`.

        seconds: the limit of this call, where it is another one than that of the settings.
        """
        if name in self._fatal:
            return self._fatal[name]
        seconds = seconds or self.limits.seconds_per_picture
        if _journal is not None:
            self._start_timer(_journal, seconds)
            _journal.write({"folder": self._folder, "call": name, "seconds": seconds})
        try:
            with _time_limit(seconds):
                return attempt(work)
        except _OutOfTime:
            return Failure("timeout", f"took more than {seconds:g} s")

    def _start_timer(self, journal: "_Journal", seconds: float) -> None:
        """Setting the timer starts a thread, so it is set for two limits and renewed when one is not left."""
        now = time.monotonic()
        if self._timer_s - now < seconds + GRACE_S:
            faulthandler.dump_traceback_later(2 * seconds + GRACE_S, exit=True, file=journal.descriptor)
            self._timer_s = now + 2 * seconds + GRACE_S

    def _stop_timer(self) -> None:
        if self._timer_s:
            faulthandler.cancel_dump_traceback_later()
            self._timer_s = 0.0


@contextmanager
def expendable(build: str) -> Iterator[None]:
    """This process may be ended by a picture: its engine tries the task again. `build` names all workers of a build."""
    global _journal
    _publish_notes(build)
    _journal = _Journal(build)
    try:
        yield
    finally:
        _journal.close()
        _journal = None


def fatal_calls(folder: str, limits: LimitSettings) -> dict[str, Failure]:
    """Call -> failure, of the calls recorded below `folder` that are not to be tried again under these limits."""
    deaths: Counter[str] = Counter()
    fatal: dict[str, Failure] = {}
    for entry in storage.list_files(folder):
        record = read_document(entry.uri, FatalCall, _MOST_RECORD_BYTES)
        deaths[record["call"]] += not record["hung"]
        if record["hung"] and record["seconds"] >= limits.seconds_per_picture:
            fatal[record["call"]] = Failure("timeout", f"hung for more than {record['seconds']:g} s")
    died = Failure("crashed", f"the worker died on it {DEATHS} times")
    return {call: died for call, count in deaths.items() if count >= DEATHS} | fatal


class _OutOfTime(BaseException):
    """Not an Exception, so that an operator which catches those does not catch this."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """_OutOfTime in this block once it has run for so long, as soon as Python code is reached."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    running = True

    def ring(*_: Any) -> None:
        if running:
            raise _OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            running = False  # an alarm from here on finds nothing to interrupt
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def memory_limit(budget: int) -> Iterator[None]:
    """Allocations fail once the process holds `budget` bytes more than now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_ceiling(budget, (soft, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _ceiling(budget: int, limits: Iterable[int]) -> int:
    """The limit that leaves `budget` bytes from now on, below the others; theirs alone where nothing is known."""
    held = _data_bytes()
    ceilings = [limit for limit in limits if limit != resource.RLIM_INFINITY]
    ceilings += [] if held is None else [held + budget]
    return min(ceilings, default=resource.RLIM_INFINITY)


def _data_bytes() -> int | None:
    """What RLIMIT_DATA counts: private writable memory. None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()
    except OSError:
        return None


class _Journal:
    """What this process is doing, in a local file that outlives it; the lock on it does not."""

    def __init__(self, build: str) -> None:
        self._path = Path(tempfile.gettempdir(), f"irodori-{build}-{uuid.uuid4().hex}.note")
        unseen = self._path.with_suffix(".new")  # until it is locked, other workers would take it for a dead one's
        with storage.explained(str(self._path)):
            self.descriptor = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unseen.rename(self._path)
        os.lseek(self.descriptor, _NOTE_BYTES, os.SEEK_SET)  # the timer writes behind the note

    def write(self, note: dict[str, Any] | None) -> None:
        text = json.dumps(note).encode() if note else b""
        with storage.explained(str(self._path)):
            os.pwrite(self.descriptor, text.ljust(_NOTE_BYTES), 0)

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self.descriptor)


_journal: _Journal | None = None


def _publish_notes(build: str) -> None:
    """Make known what the dead workers of this build on this machine were doing."""
    for path in map(Path, glob.glob(f"irodori-{build}-*.note", root_dir=tempfile.gettempdir())):
        note = Path(tempfile.gettempdir(), path)
        try:
            state = note.lstat()
            if not stat.S_ISREG(state.st_mode) or state.st_uid != os.getuid():
                continue  # another user's, in a folder where everybody writes
            with note.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _publish(note.stem, file.read())
        except (BlockingIOError, FileNotFoundError):
            continue  # its worker lives, or another one was faster
        note.unlink(missing_ok=True)


def _publish(name: str, content: bytes) -> None:
    head, dump = content[:_NOTE_BYTES].strip(), content[_NOTE_BYTES:]
    if not head:
        return  # it died between two calls
    note = json.loads(head)
    record = {"call": note["call"], "seconds": note["seconds"], "hung": bool(dump.strip())}
    storage.write_whole(storage.join(note["folder"], f"{name}.json"), json.dumps(record).encode())
