"""`irodori corpus diff`."""

from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import json_of


def test_a_difference_is_shown_and_equal_snapshots_are_equal(corpora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "diff", "one@1", "one@1"]) == 0
    assert "one@1 and one@1 are equal: digest " in capsys.readouterr().out
    assert run(["corpus", "diff", "one@1", "one"]) == 0
    said = capsys.readouterr().out
    assert "sketch_xdog" in said
    assert "region_map" in said
    assert json_of(capsys, "corpus", "diff", "one@1", "one@2")["equal"] is False
