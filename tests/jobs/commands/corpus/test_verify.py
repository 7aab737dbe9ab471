"""`irodori corpus verify`."""

import json
import shutil
from pathlib import Path

import pytest

from jobs.cli import run


def test_verify_names_what_is_damaged(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    assert run(["corpus", "verify", str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"damages": []}
    victim = next(copy.glob("data/*/*/color-*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-100])
    assert run(["corpus", "verify", str(copy)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert victim.name in said.err
    assert run(["corpus", "verify", str(copy), "--json"]) == 1
    said = capsys.readouterr()
    (damage,) = json.loads(said.out)["damages"]
    assert victim.name in damage
    assert said.err == ""
