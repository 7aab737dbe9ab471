"""SIGINT and SIGTERM in the middle of every command: exit 130 or 143, one sentence, nothing lost, nobody left."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from jobs.cli import COMMANDS
from jobs.commands.corpus import COMMANDS as CORPUS_COMMANDS
from jobs.commands.tracking import COMMANDS as TRACKING_COMMANDS
from jobs.commands.weights import COMMANDS as WEIGHTS_COMMANDS
from jobs.stopping import KEPT_NOTHING, Stopped, Stopping, kept, sentence
from pipelines.common.overrides import override
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.weights.convert import export
from pipelines.weights.intake import add
from tests.corpus_pictures import write_pictures
from tests.faults import Survived
from tests.jobs.command import irodori
from tests.pipelines.weights.weight_helpers import HEAD, head_file

# The command line, which signals itself when it opens the nth file whose address holds a text: in the middle of its
# work, wherever the machine is slow or quick.
SIGNALLED = """
import os, sys
number, text, count, again = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sys.argv[1:] = sys.argv[5:]
left = count
def opened(event, details):
    global left
    if event == "open" and text in str(details[0]):
        left -= 1
        if left == 0:
            for _ in range(1 + again):
                os.kill(os.getpid(), number)
from jobs.cli import main
sys.addaudithook(opened)
main()
"""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def signalled(
    call: list[str], text: str, number: signal.Signals, cwd: Path, count: int = 1, again: int = 0
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SIGNALLED, str(int(number)), text, str(count), str(again), *call]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=300)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.rstrip("\n").rpartition("\n")[2]


@pytest.fixture
def listening() -> Iterator[Stopping]:
    """Handles signals as the command line does, for the length of a test."""
    before = {number: signal.getsignal(number) for number in CODES}
    stopping = Stopping()
    stopping.listen()
    yield stopping
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_ends_work_where_it_is(listening: Stopping, number: signal.Signals) -> None:
    def work() -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)

    with pytest.raises(Stopped):
        work()
    assert listening.exit_code() == CODES[number]


def test_the_sentence_says_what_is_kept_and_what_goes_on() -> None:
    call = ["corpus", "build", "--source", "my pictures", "--out", "c"]
    said = "stopped; scans, plans and finished shards are kept. To go on: irodori "
    assert sentence(call) == f"{said}corpus build --source 'my pictures' --out c"
    assert kept(["corpus", "info", "c"]) == KEPT_NOTHING
    assert kept(["--help"]) == kept([]) == KEPT_NOTHING


def test_the_sentence_repeats_no_password() -> None:
    call = ["train", "v1.noisy", "--tracking-uri", "http://me:marked-secret@host"]
    assert "marked-secret" not in sentence(call)


# Commands that start no engine: what is opened in the middle of their work, and whether they write.
READING = {
    ("corpus", "info", "one"): "snapshots",
    ("corpus", "verify", "one"): "snapshots",
    ("corpus", "diff", "one@1", "one@2"): "snapshots",
    ("corpus", "browse", "one", "--out", "page.html"): "snapshots",
    ("corpus", "tags", "one"): "snapshots",
    ("corpus", "gc", "one", "--keep", "1"): "snapshots",
    ("plan", "plain", "--rows", "1000"): "costs",
    ("lineage", "one"): "lineage.json",
    ("sweep", "show", "swept"): "sweep.json",
    ("report", "swept", "--out", "page"): "sweep.json",
    ("tracking", "sync", "one"): ".jsonl",
}


@pytest.mark.drill
@pytest.mark.parametrize("call", READING, ids=" ".join)
def test_a_command_that_only_reads_leaves_nothing(call: tuple[str, ...], corpora: Path, survived: Survived) -> None:
    (corpora / "one" / "lineage.json").write_text("{}")
    (corpora / "one" / "tracking").mkdir()
    (corpora / "swept").mkdir()
    (corpora / "swept" / "sweep.json").write_text("{}")
    (corpora / "one" / "tracking" / "x.jsonl").write_text("{}\n")
    before = sorted(path for path in corpora.rglob("*"))
    number = signal.SIGINT if len(call) % 2 else signal.SIGTERM
    done = signalled(list(call), READING[call], number, corpora)
    assert done.returncode == CODES[number]
    assert last_line(done).startswith("irodori: stopped; ")
    assert done.stdout == ""
    left = len(set(corpora.rglob("*")) ^ set(before))
    survived("SIGINT or SIGTERM", work=" ".join(call[:2]), lost=left, doubled=0)
    assert left == 0


# The same of weights and of the machine; CHECKPOINT, RELEASED and PUBLISHED stand for what is made for them.
LOOKING = {
    ("doctor",): "meminfo",
    ("weights", "list", "--store", "store"): f"{HEAD}.json",
    ("weights", "inspect", "CHECKPOINT"): "config.json",
    ("weights", "add", HEAD, "PUBLISHED", "--store", "new", "--accept-other-sha256"): "aesthetic_predictor",
    ("weights", "convert", "RELEASED", "--out", "made"): "config.json",
    ("weights", "export", "CHECKPOINT", "--out", "made.safetensors"): "config.json",
}
NOT_TRIED = {
    ("weights", "get"): "waits for a client of a package registry, a child process that is ended as any other",
    ("colorize",): "keeps finished pictures: tried by itself",
    ("train",): "goes on from its checkpoint: tried where training is",
    ("corpus", "build"): "runs on an engine",
    ("evaluate",): "runs on an engine",
    ("sweep", "run"): "runs on an engine",
    ("demo",): "runs on an engine",
}


@pytest.mark.drill
@pytest.mark.parametrize("call", LOOKING, ids=" ".join)
def test_a_command_on_weights_or_the_machine_leaves_nothing(
    call: tuple[str, ...], checkpoint: str, desk: Path, survived: Survived
) -> None:
    stands_for = {"CHECKPOINT": checkpoint, "RELEASED": str(desk / "r.safetensors"), "PUBLISHED": str(head_file(desk))}
    if "RELEASED" in call:
        export(checkpoint, stands_for["RELEASED"])
    if "list" in call:
        add(HEAD, stands_for["PUBLISHED"], str(desk / "store"), accept_other_sha256=True)
    before = contents(desk)
    number = signal.SIGINT if len(call) % 2 else signal.SIGTERM
    done = signalled([stands_for.get(word, word) for word in call], LOOKING[call], number, desk)
    assert done.returncode == CODES[number], done.stderr
    assert last_line(done).startswith(f"irodori: stopped; {KEPT_NOTHING}")
    left = set(contents(desk)) ^ set(before)
    survived("SIGINT or SIGTERM", work=" ".join(call[:2]), lost=len(left), doubled=0)
    assert left == set()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WRITING = {
    ("corpus", "export", "one", "--to", "folders"): "finished shards are kept",
    ("corpus", "merge", "one@1", "two"): "finished shards are kept",
}


@pytest.mark.drill
@pytest.mark.parametrize("call", WRITING, ids=" ".join)
def test_a_command_that_was_stopped_goes_on_by_the_same_call(
    call: tuple[str, ...], corpora: Path, survived: Survived
) -> None:
    irodori(*call, "--out", "whole", cwd=corpora)
    again = [*call, "--out", "stopped"]
    done = signalled(again, ".partial", signal.SIGTERM, corpora, count=2)
    assert done.returncode == 143
    assert last_line(done) == f"irodori: stopped; {WRITING[call]}. To go on: irodori {' '.join(again)}"
    irodori(*again, cwd=corpora)
    data = [
        {name for name in contents(corpora / out) if not name.startswith(("snapshots", "lineage", "rejects"))}
        for out in ("whole", "stopped")
    ]
    survived("SIGTERM", work=" ".join(call[:2]), lost=len(data[0] - data[1]), doubled=len(data[1] - data[0]))
    assert data[0] == data[1]


@pytest.mark.drill
def test_finished_pictures_of_a_stopped_colorize_are_kept(checkpoint: str, desk: Path, survived: Survived) -> None:
    write_pictures(desk / "sketches", 3)
    call = ["colorize", "--sketch", "sketches", "--checkpoint", checkpoint, "--steps", "1", "--batch-size", "1"]
    irodori(*call, "--out", "whole", cwd=desk)
    done = signalled([*call, "--out", "stopped"], "p0001.png.", signal.SIGINT, desk)
    assert done.returncode == 130
    assert "finished pictures are kept" in last_line(done)
    made = contents(desk / "stopped")
    irodori(*call, "--out", "stopped", cwd=desk)
    whole, stopped = (
        {name: data for name, data in contents(desk / out).items() if name.endswith(".png")}
        for out in ("whole", "stopped")
    )
    lost = sum(stopped.get(name) != data for name, data in whole.items())
    survived("SIGINT", work="colorize", lost=lost, doubled=len(stopped) - len(whole))
    assert set(made) <= set(stopped) | {"colorize.log"}
    assert set(whole) == set(stopped)


def left_behind(folder: Path) -> list[str]:
    """Processes that name a folder in their command: engines of the work in it."""
    return [command for process in psutil.process_iter() if str(folder) in (command := _command(process))]


@pytest.mark.drill
@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_stopped_build_goes_on_and_leaves_no_engine(
    desk: Path, engine_folder: Path, number: signal.Signals, survived: Survived
) -> None:
    write_pictures(desk / "pictures", 12)
    recipe = override(CORPUS_RECIPES["plain"], {"filters.min_side": 32})
    whole = run_build([str(desk / "pictures")], str(desk / "whole"), recipe, engine=in_process)
    call = ["corpus", "build", "--source", "pictures", "--workers", "2", "--set", "filters.min_side=32"]
    done = signalled([*call, "--out", "stopped"], ".partial", number, desk)
    assert done.returncode == CODES[number]
    assert "finished shards are kept" in last_line(done)
    assert left_behind(engine_folder) == []
    with closing(sqlite3.connect(desk / "irodori.db")) as database:
        assert database.execute("SELECT status FROM runs").fetchall() == [("KILLED",)]
    again = json.loads(irodori(*call, "--out", "stopped", "--json", cwd=desk).stdout)
    rows = sum(again["rows"].values()) - sum(whole.rows.values())
    survived(number.name, work="corpus build", lost=max(-rows, 0), doubled=max(rows, 0))
    assert again["digest"] == whole.digest
    with closing(sqlite3.connect(desk / "irodori.db")) as database:
        assert database.execute("SELECT status FROM runs").fetchall() == [("FINISHED",)]


@pytest.fixture
def engine_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder (sockets lie in it) that every process of an engine names in its command."""
    with tempfile.TemporaryDirectory(prefix="iro", dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


@pytest.mark.drill
@pytest.mark.ray
@pytest.mark.parametrize("command", ["evaluate", pytest.param("demo", marks=pytest.mark.slow)])
def test_a_command_on_an_engine_ends_in_order(
    command: str, checkpoint: str, corpus: str, desk: Path, engine_folder: Path
) -> None:
    scored = ["--checkpoint", checkpoint, "--corpus", corpus, "--protocol", "self", "--limit", "2", "--steps", "1"]
    call = [command, *(scored if command == "evaluate" else []), "--out", str(desk / "out")]
    done = signalled(call, ".partial", signal.SIGINT, desk)
    assert done.returncode == 130
    assert ("finished steps are kept" if command == "demo" else "finished parts are kept") in last_line(done)
    assert not (desk / "out" / "scores.json").exists()
    assert left_behind(engine_folder) == []


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) if process.pid != os.getpid() else ""
    except psutil.Error:
        return ""


def test_every_command_is_stopped_somewhere() -> None:
    groups = {"corpus": CORPUS_COMMANDS, "weights": WEIGHTS_COMMANDS, "tracking": TRACKING_COMMANDS}
    tried = {call[: 2 if call[0] in groups else 1] for call in (*READING, *LOOKING, *WRITING, *NOT_TRIED)}
    single = {(name,) for name in COMMANDS if name not in groups}
    assert tried == single | {(group, name) for group, names in groups.items() for name in names}


@pytest.mark.seconds
def test_a_second_signal_ends_at_once(corpora: Path) -> None:
    done = signalled(["corpus", "info", "one"], "snapshots", signal.SIGINT, corpora, again=1)
    assert done.returncode == 130
    shutil.rmtree(corpora / "one")
