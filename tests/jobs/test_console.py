"""What a person sees: which stage, how far, how fast, on one line. Engines stay out; work outlives readers."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import console as consoles
from jobs.console import Console, engines_log_to
from pipelines.common.progress import Progress


class Clock:
    """A time that stands still until it is moved."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("jobs.console.time.monotonic", clock.monotonic)
    return clock


def written(console: Console) -> list[str]:
    assert isinstance(console.err, io.StringIO)
    return console.err.getvalue().splitlines()


@pytest.fixture
def console() -> Console:
    return Console(io.StringIO(), io.StringIO())


def test_a_line_says_stage_share_count_rate_and_time_left(console: Console, clock: Clock) -> None:
    console.progress(Progress("v1.noisy", 0, 1000, "images"))
    clock.now += 50
    console.progress(Progress("v1.noisy", 250, 1000, "images", note="loss 0.5"))
    line = written(console)[-1]
    for part in ("v1.noisy", "25%", "250/1,000 images", "5.0/s", "2 min 30 s left", "loss 0.5"):
        assert part in line
    assert line.count("█") * 3 == line.count("░")


def test_a_rate_that_is_known_is_used_as_it_is(console: Console, clock: Clock) -> None:
    console.progress(Progress("x", 10, 110, "rows", rate=20.0))
    assert "20.0/s, 5 s left" in written(console)[-1]


def test_a_pipe_gets_the_first_line_the_last_and_one_now_and_then(console: Console, clock: Clock) -> None:
    for done in range(101):
        console.progress(Progress("x", done, 100))
        clock.now += 0.2
    assert 4 <= len(written(console)) <= 7
    assert "0/100" in written(console)[0]
    assert "100/100" in written(console)[-1]


def test_a_new_stage_shows_at_once_and_counts_its_own_time(console: Console, clock: Clock) -> None:
    console.progress(Progress("first", 1, 10))
    clock.now += 100
    console.progress(Progress("second", 0, 10))
    clock.now += 10
    console.progress(Progress("second", 5, 10))
    assert "second" in written(console)[1]
    assert "2.0 s a row" in written(console)[2]


def test_results_go_to_stdout_and_everything_else_to_stderr(console: Console) -> None:
    console.progress(Progress("x", 1, 2))
    console.message("a sentence")
    console.result('{"answer": 42}')
    assert isinstance(console.out, io.StringIO)
    assert console.out.getvalue() == '{"answer": 42}\n'
    assert "a sentence" in written(console)


def test_a_terminal_gets_one_line_that_is_drawn_again() -> None:
    main, terminal = pty.openpty()
    with open(terminal, "w") as err:
        console = Console(io.StringIO(), err)
        console.progress(Progress("x", 0, 3))
        console.progress(Progress("x", 3, 3))
        console.message("done")
    read = b""
    while b"done" not in read:  # a terminal may give its text in parts
        read += os.read(main, 10_000)
    shown = read.decode()
    assert shown.count("\r\x1b[2K") == 2
    assert shown.index("3/3") < shown.index("\n") < shown.index("done")
    os.close(main)


SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from jobs.console import engines_log_to
with engines_log_to(Path("logs/engine.log")) as console:
    print("python noise"); print("more", file=sys.stderr)
    os.write(1, b"C noise\\n"); os.write(2, b"C errors\\n")
    subprocess.run([sys.executable, "-c", "print('child noise')"])
    console.message("news"); console.result("result")
print("after")
"""


def run(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(consoles.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=cwd, text=True, env=environment, capture_output=True, check=False)


def test_whatever_prints_inside_goes_to_the_file_and_nothing_is_lost(tmp_path: Path) -> None:
    done = run(SCRIPT, tmp_path)
    assert done.stdout == "result\nafter\n"
    assert done.stderr == "news\n"
    log = (tmp_path / "logs" / "engine.log").read_text()
    for noise in ("python noise", "more", "C noise", "C errors", "child noise"):
        assert noise in log


def test_a_log_without_a_word_is_not_left_behind(tmp_path: Path) -> None:
    with engines_log_to(tmp_path / "logs" / "engine.log"):
        pass
    assert list((tmp_path / "logs").iterdir()) == []


def test_streams_are_back_after_a_failure(tmp_path: Path) -> None:
    done = run(SCRIPT.replace('console.message("news")', 'raise SystemExit("gone")'), tmp_path)
    assert done.stderr == "gone\n"
    assert "noise" not in done.stdout


def test_work_goes_on_when_nobody_reads_any_more() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        console = Console(stream, stream)
        for done in range(3):
            console.progress(Progress("x", done, 2))
            console.result("result")


def test_a_log_in_a_place_that_cannot_be_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), engines_log_to(tmp_path / "file" / "engine.log"):
        pass


def test_a_bar_has_only_signs_that_the_terminal_can_show() -> None:
    shown = {}
    for encoding in ("utf-8", "ascii"):
        err = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        Console(io.StringIO(), err).progress(Progress("build", 1, 2))
        err.seek(0)
        shown[encoding] = err.read()
    assert "█" in shown["utf-8"]
    assert "############............" in shown["ascii"]
