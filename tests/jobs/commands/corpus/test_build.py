"""`irodori corpus build`."""

from pathlib import Path

import pytest

from jobs.cli import run
from tests.corpus_pictures import write_pictures


def test_a_dry_run_of_a_build_writes_nothing(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(desk / "pictures", 2)
    (desk / "mine.yaml").write_text("base: demo\nfilters: {min_side: 32}\n")
    assert run(["corpus", "build", "--source", "pictures", "--out", "o", "--recipe", "mine.yaml", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert '"min_side": 32' in said
    assert '"shard_rows": 64' in said
    assert "would read 2 of 2 pictures" in said
    assert not (desk / "o").exists()


def test_a_setting_without_effect_is_a_wrong_call(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "build", "--source", "s", "--set", "canvas.padding=white", "--dry-run"]) == 2
    assert "canvas.padding=white changes nothing" in capsys.readouterr().err
