"""`irodori weights get`: what is refused; that packages are unpacked is held by the tests of `pipelines.weights`."""

from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import one_line


@pytest.mark.parametrize(
    ("name", "code", "named"),
    [
        ("hedd", 2, "did you mean hed?"),
        ("isnetis", 1, "irodori weights add isnetis hf://skytnt/anime-seg/isnetis.ckpt"),
    ],
)
def test_what_is_in_no_package_is_refused_with_what_to_do(
    name: str, code: int, named: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(desk / "store"))
    assert run(["weights", "get", name]) == code
    assert named in one_line(capsys)
    assert not (desk / "store").exists()
