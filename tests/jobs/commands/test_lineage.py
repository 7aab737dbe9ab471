"""`irodori lineage`."""

import json
from pathlib import Path

import pytest

from jobs.cli import run


def test_lineage_reads_as_a_chain_for_a_person(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = {
        "nodes": [{"id": "/p", "kind": "source", "name": "p"}, {"id": "/c", "kind": "corpus", "name": "snapshot 1"}],
        "edges": [{"from": "/p", "to": "/c"}],
    }
    (desk / "lineage.json").write_text(json.dumps({"run_id": "0" * 32, "chain": chain}))
    assert run(["lineage", str(desk)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("corpus")
    assert "made from: source" in lines[1]
    assert lines[2].startswith("source")
