"""A call beside the main thread: its result, its error, and never an end of this process in its name."""

import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from pipelines.common.errors import PipelineError
from pipelines.execution.interruptible import beside_main


@pytest.fixture
def restored() -> Iterator[None]:
    """The signal's own handler is put back."""
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


def test_what_it_returns_and_what_it_raises_come_here() -> None:
    assert beside_main(lambda: threading.current_thread().name, "trainer") == "trainer"
    with pytest.raises(ZeroDivisionError):
        beside_main(lambda: 1 / 0, "trainer")


def test_an_engine_that_ends_is_no_success() -> None:
    """Ray raises SystemExit(0) from a call that waits for it."""
    with pytest.raises(PipelineError, match="the engine ended under the trainer"):
        beside_main(lambda: sys.exit(0), "trainer")


def test_what_a_signal_handler_raises_ends_the_waiting(restored: None) -> None:
    ended = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGUSR2, interrupt)

    def call() -> bool:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
        return ended.wait(10)

    with pytest.raises(KeyboardInterrupt):
        beside_main(call, "trainer")
    ended.set()
