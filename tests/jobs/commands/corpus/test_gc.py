"""`irodori corpus gc`."""

from pathlib import Path

import pytest

from dataprep.corpus.snapshot import snapshot_numbers
from dataprep.corpus_tools.verify import verify
from jobs.cli import run
from tests.jobs.command import json_of


def test_gc_shows_first_and_then_removes(corpora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpora / "one" / "data" / "left.parquet").write_bytes(b"x" * 1000)
    dry = json_of(capsys, "corpus", "gc", "one", "--dry-run", "--older-than", "0")
    assert dry["remove"] == {"data files": {"files": 1, "bytes": 1000}}
    assert dry["removed"] is False
    young = json_of(capsys, "corpus", "gc", "one")
    assert (young["remove"], young["keep_for_now"]) == ({}, dry["remove"])
    assert (corpora / "one" / "data" / "left.parquet").exists()
    assert run(["corpus", "gc", "one", "--older-than", "0"]) == 0
    assert "removed 1 file, 1.0 kB; 2 snapshots kept" in capsys.readouterr().out
    assert not (corpora / "one" / "data" / "left.parquet").exists()
    assert run(["corpus", "gc", "one", "--older-than", "0", "--keep", "1"]) == 0
    assert snapshot_numbers("one") == [2]
    assert verify("one") == []
