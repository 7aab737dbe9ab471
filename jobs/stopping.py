"""SIGINT and SIGTERM: work ends in order, one sentence says what is kept and which call goes on, exit 130 or 143.

The first signal is an exception in the main thread, so that whatever is open closes itself: the engine, the run in
MLflow, half-written files. A second one ends the process and its children at once.
"""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from dataprep.secrets import without_secrets

SIGNALS = (signal.SIGINT, signal.SIGTERM)
KEPT_NOTHING = "nothing was written"
_ENDING_S = 5.0  # for children that were asked to end


class Stopped(KeyboardInterrupt):
    """The first signal."""


class Stopping:
    """What came: the number of the signal, or None."""

    def __init__(self) -> None:
        self.number: int | None = None

    def listen(self) -> None:
        """Handle SIGNALS from now on, in the main thread; one that is ignored, as under nohup, stays ignored."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self._came)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            end_children(0.0)
            os._exit(128 + self.number)
        self.number = number
        raise Stopped

    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)


def sentence(arguments: Sequence[str]) -> str:
    """What is kept of the call that was stopped, and the call that goes on."""
    again = shlex.join(["irodori", *arguments])
    return without_secrets(f"stopped; {kept(arguments)}. To go on: {again}")


def kept(arguments: Sequence[str]) -> str:
    """`KEPT` of the module of the command: what a call that is stopped leaves behind."""
    name, kept_by_it = "jobs.commands", KEPT_NOTHING
    for word in arguments:
        name = f"{name}.{word}"
        if name not in sys.modules:  # every command of the table is imported
            break
        kept_by_it = getattr(sys.modules[name], "KEPT", KEPT_NOTHING)
    return kept_by_it


def end_children(patience_s: float = _ENDING_S) -> None:
    """End the processes that this one has started and that are still there, theirs too."""
    import psutil

    children = psutil.Process().children(recursive=True)
    _, alive = psutil.wait_procs(children, timeout=patience_s)
    for child in alive:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
