"""What one picture may cost, and what is known of those that cost a process. Processes here really end."""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dataprep import limits as limits_module
from dataprep.faults import Failure
from dataprep.limits import Limiter, LimitSettings, expendable, fatal_calls

QUICK = LimitSettings(seconds_per_picture=0.2, memory_bytes=64 << 20)


def called(folder: Path, work: object, limits: LimitSettings = QUICK, name: str = "call") -> object:
    one = Limiter(limits, str(folder))
    with one.picture():
        return one.call(name, work)  # type: ignore[arg-type]


def test_what_stays_within_its_limits_is_as_without(tmp_path: Path) -> None:
    assert called(tmp_path, lambda: 7) == 7
    assert called(tmp_path, lambda: None) is None


def test_an_error_is_a_failure_with_its_name(tmp_path: Path) -> None:
    assert str(called(tmp_path, lambda: [][0])) == "raised: IndexError: list index out of range"


# The work keeps nothing: a list would meet the limit of memory first on a fast machine.
@pytest.mark.parametrize("wait", [lambda: time.sleep(5), lambda: sum(0 for _ in iter(int, 1))], ids=["wait", "work"])
def test_python_code_is_interrupted_at_its_limit(tmp_path: Path, wait: object) -> None:
    started = time.monotonic()
    assert called(tmp_path, wait) == Failure("timeout", "took more than 0.2 s")
    assert time.monotonic() - started < 2


def test_an_operator_that_catches_every_exception_is_interrupted_all_the_same(tmp_path: Path) -> None:
    def stubborn() -> None:
        while True:
            try:
                time.sleep(5)
            except Exception:
                continue

    assert called(tmp_path, stubborn) == Failure("timeout", "took more than 0.2 s")


def test_the_limits_end_with_the_picture(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    called(tmp_path, lambda: 1)
    time.sleep(0.3)  # no alarm is left behind
    assert len(np.ones(128 << 20, np.uint8)) == 128 << 20
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_allocation_beyond_the_budget_is_the_failure_of_that_call_alone(tmp_path: Path) -> None:
    one = Limiter(LimitSettings(memory_bytes=64 << 20), str(tmp_path))
    with one.picture():
        # Far more than a process that ran other tests may hold as free memory, which is no growth.
        big = one.call("big", lambda: np.ones(2 << 30, np.uint8))
        small = one.call("small", lambda: np.ones(40 << 20, np.uint8).sum())
    assert isinstance(big, Failure)
    assert big.reason == "out-of-memory"
    assert small == 40 << 20


def test_memory_that_opencv_cannot_have_is_out_of_memory_too(tmp_path: Path) -> None:
    import cv2

    # As above far more than what other tests have left to be collected, which would make room meanwhile.
    grown = called(tmp_path, lambda: cv2.resize(np.ones((64, 64), np.uint8), (46_000, 46_000)))
    assert isinstance(grown, Failure)
    assert grown.reason == "out-of-memory"


@pytest.mark.seconds
def test_many_small_objects_are_counted(tmp_path: Path) -> None:
    hoard = called(tmp_path, lambda: [str(number) * 20 for number in range(10_000_000)], LimitSettings(60, 64 << 20))
    assert hoard == Failure("out-of-memory", "MemoryError")


def test_away_from_the_main_thread_the_call_is_made_without_interruption(tmp_path: Path) -> None:
    results: list[object] = []

    def slow() -> str:
        time.sleep(0.3)
        return "done"

    thread = threading.Thread(target=lambda: results.append(called(tmp_path, slow)))
    thread.start()
    thread.join()
    assert results == ["done"]


# ---- calls that end a process --------------------------------------------------------------------------------------


def deadlock() -> None:
    """Hangs in C, with Python's lock held, and no signal wakes it."""
    mutex = ctypes.create_string_buffer(128)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)


FATAL = {
    "hangs": deadlock,
    "dies": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def worker(kind: str, folder: str, build: str) -> None:
    """One try of a task with three calls; runs in a process of its own."""
    limits_module.GRACE_S = 0.1
    with expendable(build):
        one = Limiter(QUICK, folder)
        for name, work in (("first", lambda: 1), ("fatal", FATAL[kind]), ("last", lambda: 3)):
            with one.picture():
                print(name, one.call(name, work), flush=True)


def tried(kind: str, folder: Path, build: str = "b1") -> list[str]:
    program = f"from tests.dataprep.test_limits import worker; worker({kind!r}, {str(folder)!r}, {build!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workers note what they do; nothing is left there in the end."""
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.seconds
def test_a_call_that_hangs_in_c_ends_its_process_once_and_is_a_timeout_in_the_next_try(
    tmp_path: Path, notes: Path
) -> None:
    folder = tmp_path / "faults"
    assert tried("hangs", folder) == ["first 1"]
    assert tried("hangs", folder) == ["first 1", "fatal timeout: hung for more than 0.2 s", "last 3"]
    assert not list(notes.iterdir())
    assert fatal_calls(str(folder), LimitSettings(seconds_per_picture=1)) == {}  # a longer limit is another chance


@pytest.mark.seconds
def test_a_call_on_which_two_processes_die_is_not_tried_a_third_time(tmp_path: Path, notes: Path) -> None:
    folder = tmp_path / "faults"
    assert [tried("dies", folder) for _ in range(2)] == [["first 1"]] * 2
    assert tried("dies", folder) == ["first 1", "fatal crashed: the worker died on it 2 times", "last 3"]
    assert not list(notes.iterdir())


@pytest.mark.seconds
def test_the_deaths_of_another_build_are_not_counted(tmp_path: Path, notes: Path) -> None:
    folder = tmp_path / "faults"
    assert [tried("dies", folder, build) for build in ("b1", "b2", "b3")] == [["first 1"]] * 3
    assert len(list(notes.iterdir())) == 3


def test_the_note_of_a_worker_that_lives_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "notes"))
    (tmp_path / "notes").mkdir()
    with expendable("b1"):
        one = Limiter(QUICK, str(tmp_path / "faults"))
        with one.picture():
            program = "from dataprep.limits import expendable\nwith expendable('b1'): pass"
            environment = os.environ | {"TMPDIR": str(tmp_path / "notes")}
            one.call("mine", lambda: subprocess.run([sys.executable, "-c", program], env=environment, check=True))
        assert len(list((tmp_path / "notes").iterdir())) == 1
    assert not (tmp_path / "faults").exists()


def test_no_note_can_be_found_before_its_worker_has_locked_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker looks at the moment before the lock: it finds nothing to take for a dead one's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found: list[list[Path]] = []
    lock = fcntl.flock

    def late(file: int, how: int) -> None:
        found.append(list(tmp_path.glob("irodori-b1-*.note")))
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with expendable("b1"):
        assert found == [[]]
        assert len(list(tmp_path.glob("irodori-b1-*.note"))) == 1
    assert not list(tmp_path.iterdir())


def test_what_others_put_under_the_name_of_a_note_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "theirs").write_text('{"folder": "/anywhere", "call": "x", "seconds": 1}')
    (tmp_path / "irodori-b1-link.note").symlink_to(tmp_path / "theirs")
    os.mkfifo(tmp_path / "irodori-b1-pipe.note")  # opening it would wait for ever
    before = sorted(tmp_path.iterdir())
    with expendable("b1"):
        pass
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("wrong", [{"seconds_per_picture": 0}, {"memory_bytes": 1000}])
def test_limits_that_nothing_can_keep_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        LimitSettings(**wrong)
