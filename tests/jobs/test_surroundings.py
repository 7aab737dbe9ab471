"""Odd surroundings: closed descriptors, terminals without the signs of a bar, names that are no text, proxies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.surroundings import prepare

MAIN = [sys.executable, "-c", "from jobs.cli import main; main()"]
pytestmark = pytest.mark.seconds


def call(words: str, shell: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """`irodori WORDS` followed by what a shell makes of its descriptors."""
    command = ["bash", "-c", f'"$@" {words} {shell}', "bash", *MAIN]
    return subprocess.run(command, capture_output=True, cwd=cwd, env=os.environ | environment, check=False)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_descriptors_change_nothing_but_what_is_shown(closed: str, corpora: Path) -> None:
    done = call("corpus browse one --out page.html", closed, corpora)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (corpora / "page.html").read_bytes().startswith(b"<!")


def test_a_reader_that_has_seen_enough_is_no_failure(corpora: Path) -> None:
    done = call("corpus info one", "| head -1; exit ${PIPESTATUS[0]}", corpora)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LANG": "C", "LC_ALL": "C"}], ids=str)
def test_names_that_a_terminal_cannot_show_are_written_as_numbers(environment: dict[str, str], desk: Path) -> None:
    done = call("corpus info $'\\xe5\\xbd\\xa9\\xff'", "", desk, **environment)
    assert done.returncode == 1
    assert b"there is no corpus here" in done.stderr
    assert b"\\udcff" in done.stderr


def test_a_server_on_this_machine_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet, localhost")
    monkeypatch.delenv("no_proxy", raising=False)
    prepare()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "intranet,localhost,127.0.0.1,::1"
    prepare()
    assert os.environ["NO_PROXY"].count("localhost") == 1
