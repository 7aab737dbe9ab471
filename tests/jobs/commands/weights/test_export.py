"""`irodori weights export`: what is refused; a file that it wrote is read again in `test_convert`."""

from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import one_line


@pytest.mark.parametrize(
    ("out", "code", "said"),
    [("a.safetensors", 1, "absent holds no checkpoint"), ("hf://a/b/c.safetensors", 2, "no store hf:")],
)
def test_without_a_checkpoint_nothing_is_written(
    out: str, code: int, said: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["weights", "export", "absent", "--out", out]) == code
    assert said in one_line(capsys)
    assert sorted(path.name for path in desk.iterdir()) == ["bad.png", "empty"]
