"""Whether the Ray that work runs on is still there: looked at beside the work, which would else wait or be aborted.

Ray itself notices a dead raylet after some 15 s and a dead head after 60 s, and then may end this whole process from
C++, with no word to anybody. So a thread looks every half second, and interrupts the work by a signal.
"""

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

EVERY_S, REMOTE_EVERY_S = 0.5, 2.0
PATIENCE_S = 40  # with a remote head, which may be restarted in place; Ray ends this process after 60
CONNECT_S = 2
SIGNAL = signal.SIGUSR2


class EngineLost(KeyboardInterrupt):
    """The engine under the work is gone; says which process of it.

    A KeyboardInterrupt, because Ray's own calls drop whatever else a signal handler raises, and wait on; of this one
    they make a plain KeyboardInterrupt.
    """


@dataclass(frozen=True)
class Part:
    """A process that the engine cannot be without: its name, whether it is there now, how long it may be away."""

    name: str
    there: Callable[[], bool]
    patience_s: float = 0.0


def local_parts(node: Any) -> tuple[Part, ...]:
    """The processes that this process has started for its own engine. `node`: Ray's record of them."""
    return tuple(
        Part(name, partial(_runs, started.process))
        for name in ("raylet", "gcs_server")
        for started in node.all_processes.get(name, [])
    )


def remote_parts(node: Any) -> tuple[Part, ...]:
    """Of a cluster that was joined: its head, and the raylet of this machine."""
    host, _, port = node.gcs_address.rpartition(":")
    head = (host.strip("[]"), int(port))
    return (
        Part("head", lambda: _answers(socket.AF_INET6 if ":" in head[0] else socket.AF_INET, head), PATIENCE_S),
        Part("raylet", lambda: _answers(socket.AF_UNIX, node.raylet_socket_name), REMOTE_EVERY_S),
    )


class EngineWatch:
    """Looks after the parts of an engine until it is closed; `lost` names the first that was found gone."""

    def __init__(self, parts: tuple[Part, ...], every_s: float = EVERY_S) -> None:
        self.lost: str | None = None
        self._interrupted = False
        self._every_s = every_s
        self._parts, self._away = parts, {part.name: 0.0 for part in parts}
        self._closed, self._guarded = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look, name="engine-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()
        self._thread.join(timeout=2 * CONNECT_S)

    def found_lost(self, error: BaseException) -> str | None:
        """The part whose loss `error` comes of, looked at now: an error may come before the next look. None for a
        KeyboardInterrupt that is not of this watch's making."""
        if isinstance(error, KeyboardInterrupt) and not self._interrupted:
            return None
        return self.lost or next((part.name for part in self._parts if not part.patience_s and not part.there()), None)

    @contextlib.contextmanager
    def guarding(self) -> Iterator[None]:
        """Work that is interrupted by EngineLost; only in the main thread, where signals arrive. Elsewhere it waits
        until Ray itself notices."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(SIGNAL, self._raise)
        self._guarded.set()
        try:
            yield
        finally:
            self._guarded.clear()
            signal.signal(SIGNAL, before)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._guarded.is_set():
            self._guarded.clear()  # once: what it interrupts has to clean up
            self._interrupted = True
            raise EngineLost(self.lost)

    def _look(self) -> None:
        while not self._closed.wait(self._every_s):
            for part in self._parts:
                if part.there():
                    self._away[part.name] = 0.0
                    continue
                self._away[part.name] = self._away[part.name] or time.monotonic()
                if time.monotonic() - self._away[part.name] < part.patience_s:
                    continue
                self.lost = part.name
                if self._guarded.is_set():
                    signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)
                return


def _runs(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None


def _answers(kind: socket.AddressFamily, address: Any) -> bool:
    with socket.socket(kind, socket.SOCK_STREAM) as door:
        door.settimeout(CONNECT_S)
        try:
            door.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # no answer yet, as under load: a machine that is away
            return kind == socket.AF_UNIX
    return True
