"""`irodori weights list`."""

from pathlib import Path

import pytest

from jobs.cli import run
from tests.pipelines.weights.weight_helpers import HEAD, head_file


def test_the_list_shows_what_is_there_and_which_command_brings_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(tmp_path))
    assert run(["weights", "add", HEAD, str(head_file(tmp_path)), "--accept-other-sha256"]) == 0
    assert "NOT the published one" in capsys.readouterr().out
    assert run(["weights", "list"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{tmp_path} holds 1 of the networks below")
    assert "not there: irodori weights get hed\n" in shown
    assert "(NOT the published file)" in shown
