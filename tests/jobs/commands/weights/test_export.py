"""`irodori weights export`: what is refused; a file that it wrote is read again in `test_convert`."""

from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import one_line


@pytest.mark.parametrize("out", ["a.safetensors", "hf://a/b/c.safetensors"])
def test_without_a_checkpoint_nothing_is_written(out: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", "export", "absent", "--out", out]) == 1
    assert "absent holds no checkpoint" in one_line(capsys)
    assert sorted(path.name for path in desk.iterdir()) == ["bad.png", "empty"]
