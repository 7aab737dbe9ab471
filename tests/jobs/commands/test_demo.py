"""`irodori demo`: that it works is held by the tests of `pipelines.demo`."""

from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import one_line


def test_a_demo_that_cannot_be_written_is_one_line(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--out", "bad.png/x"]) == 1
    assert "bad.png/x" in one_line(capsys)
