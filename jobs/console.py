"""What a person sees while work runs: one line that says which stage, how far and how fast; engines talk to a file.

Progress goes to stderr, results to stdout, so that `--json` leaves one document on stdout and nothing else. While work
runs, file descriptors 1 and 2 belong to the log file: what Ray, DeepSpeed or a C++ library prints never reaches the
person, and nothing is lost.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from dataprep.visible import one_line, visible
from jobs.progress_line import ASCII, BLOCKS, Pace, progress_line
from pipelines.common.progress import Progress

LINES_EVERY_S = 5.0
REDRAW_EVERY_S = 0.2
USUAL_COLUMNS = 80


class Console:
    """Prints progress to `err` and results to `out`; a terminal gets a bar that redraws, a pipe gets lines.

    Threads may print: a warning stands on lines of its own.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out, self.err = out, err
        self._lock = threading.RLock()
        self._signs = BLOCKS if _can_show(err, "".join(BLOCKS)) else ASCII
        self._interactive = err.isatty()
        self._stage, self._stage_started, self._printed = "", 0.0, 0.0
        self._open_line = False
        self._pace = Pace("")

    def progress(self, news: Progress) -> None:
        """Show where a stage is; called often, prints seldom."""
        with self._lock:
            self._show(news)

    def _show(self, news: Progress) -> None:
        now = time.monotonic()
        fresh = news.stage != self._stage
        if fresh:
            self.finish_line()
            self._stage, self._stage_started = news.stage, now
        finished = news.done >= news.total
        wait = REDRAW_EVERY_S if self._interactive else LINES_EVERY_S
        if not (fresh or finished or now - self._printed >= wait):
            return
        self._printed = now
        self._print(self._line(news, now - self._stage_started))
        if finished:
            self.finish_line()

    def message(self, text: str = "") -> None:
        """A sentence on stderr."""
        with self._lock:
            self.finish_line()
            _write(self.err, text)

    def result(self, text: str) -> None:
        """A result on stdout."""
        with self._lock:
            self.finish_line()
            _write(self.out, text)

    def finish_line(self) -> None:
        """End a line that was being redrawn."""
        if self._open_line:
            _write(self.err, "")
            self._open_line = False

    def _line(self, news: Progress, elapsed_s: float) -> str:
        if self._pace.stage != news.stage:
            self._pace = Pace(news.stage)
        self._pace.update(news.done, elapsed_s)
        news = replace(news, note=one_line(news.note))
        return progress_line(news, self._pace, self._width() - 1 if self._interactive else None, self._signs)

    def _width(self) -> int:
        """The columns of the terminal; one that does not say how many has the usual ones."""
        return os.get_terminal_size(self.err.fileno()).columns or USUAL_COLUMNS

    def _print(self, line: str) -> None:
        if self._interactive:
            _write(self.err, line, end="", start="\r\x1b[2K")
            self._open_line = True
        else:
            _write(self.err, line)


@contextmanager
def engines_log_to(path: Path) -> Iterator[Console]:
    """A Console on the real stdout and stderr, while everything else that prints goes to the file `path`.

    No empty file is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    sys.stdout.flush()
    sys.stderr.flush()
    with (
        path.open("ab", buffering=0) as log,
        open(saved[1], "w", encoding=sys.stdout.encoding, errors="backslashreplace") as out,
        open(saved[2], "w", encoding=sys.stderr.encoding, errors="backslashreplace") as err,
    ):
        console = Console(out, err)
        try:
            for descriptor in saved:
                os.dup2(log.fileno(), descriptor)
            yield console
        finally:
            console.finish_line()
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in saved.items():
                os.dup2(original, descriptor)
            if path.stat().st_size == 0:
                path.unlink()


def silence(stream: TextIO) -> None:
    """Whatever goes to `stream` from now on, its buffer too, goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _write(stream: TextIO, text: str, end: str = "\n", start: str = "") -> None:
    """Print; work goes on where nobody reads any more, since what it makes is on disk.

    The one door to a terminal: control characters in names, tags and addresses are made visible, but for ours in
    `start`.
    """
    try:
        print(start + visible(text), end=end, file=stream, flush=True)
    except BrokenPipeError:
        silence(stream)


def _can_show(stream: TextIO, signs: str) -> bool:
    try:
        signs.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
