"""Runs the real command line in a process of its own, and reads what a call has printed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import run


def irodori(
    *arguments: str, cwd: Path | None = None, code: int = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`irodori ARGUMENTS...`; fails the test where the exit code is another than `code`, or a traceback is shown."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("irodori")), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | (env or {}),
        timeout=600,
        check=False,
    )
    assert done.returncode == code, f"exit code {done.returncode}, not {code}: {done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr
    return done


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """All that was said, which must be one line on stderr."""
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("irodori: ")
    assert said.err.count("\n") == 1
    return said.err


def json_of(capture: pytest.CaptureFixture[str], *call: str) -> dict[str, Any]:
    """The one document that a call prints with `--json`."""
    assert run([*call, "--json"]) == 0
    document: dict[str, Any] = json.loads(capture.readouterr().out)
    return document
