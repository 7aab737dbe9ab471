"""Progress between the ends of tasks: how many pictures each task that runs has done, as it tells in a file of its own.

A shard of networks takes minutes, and a bar that moves once a shard says nothing. A task writes its count at most once
a second into a folder of the driver's machine; one on another machine, where there is no such folder, tells at its end
alone. No engine is asked, nothing is synced, and nothing that is made depends on it.
"""

import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from pipelines.common.progress import Clock

EVERY_S = 1.0


class TaskCount:
    """What a task tells: `count(done)` of the pictures that it has done; the file goes when the task ends."""

    def __init__(self, folder: str, part: str) -> None:
        self._file = Path(folder) / part if folder else None
        self._told_s = time.monotonic()

    def __call__(self, done: float) -> None:
        now = time.monotonic()
        if self._file is None or now - self._told_s < EVERY_S:
            return
        self._told_s = now
        try:
            self._file.write_text(f"{done:.1f}")
        except OSError:  # another machine, a driver that has ended, a full disk: no matter for the work
            self._file = None

    def end(self) -> None:
        """The task's result tells from now on."""
        if self._file is not None:
            with suppress(OSError):
                self._file.unlink()


class LiveCounts:
    """Tells a clock what has ended and what runs, while its block lasts; `folder` is where tasks write."""

    def __init__(self, clock: Clock) -> None:
        self.folder = tempfile.mkdtemp(prefix="irodori-counts-")
        self._clock, self._lock, self._over = clock, threading.Lock(), threading.Event()
        self._ended, self._told, self._note = 0, 0, ""
        self._thread = threading.Thread(target=self._poll, name="live-counts", daemon=True)

    def __enter__(self) -> "LiveCounts":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ended(self, pictures: int, note: str = "") -> None:
        """Tell that a task of so many pictures has ended."""
        with self._lock:
            self._ended, self._note = self._ended + pictures, note
            self._told = max(self._told, self._ended)
            self._clock.tell(self._told, note)

    def running(self) -> int:
        """The pictures that running tasks have done."""
        return int(sum(_count(file) for file in Path(self.folder).iterdir()))

    def _poll(self) -> None:
        while not self._over.wait(EVERY_S):
            with self._lock:
                done = self._ended + self.running()
                if done > self._told:  # a task that is repeated counts again from nothing
                    self._told = done
                    self._clock.tell(done, self._note)


def _count(file: Path) -> float:
    """The number in a file; 0 where its task has just ended, or is writing."""
    try:
        return float(file.read_text() or 0)
    except OSError:
        return 0.0
