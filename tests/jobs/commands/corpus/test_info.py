"""`irodori corpus info`, and addresses with the number of a snapshot."""

import json
from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import json_of


def test_info_as_json_is_one_document(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "info", corpus, "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert said.err == ""
    assert document.keys() >= {"snapshot", "digest", "rows", "rejects", "operators", "bytes"}
    assert set(document["operators"]) >= {"color", "sketch_drawn", "sketch_xdog", "mask", "region_map"}
    assert sum(document["rows"].values()) == 16


def test_info_for_a_person_holds_the_same(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "info", corpus, "--json"]) == 0
    digest = json.loads(capsys.readouterr().out)["digest"]
    assert run(["corpus", "info", corpus]) == 0
    assert digest in capsys.readouterr().out


def test_info_and_verify_take_a_snapshot_by_its_number(corpora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, newest = json_of(capsys, "corpus", "info", "one@1"), json_of(capsys, "corpus", "info", "one")
    assert (first["snapshot"], newest["snapshot"]) == (1, 2)
    assert first["digest"] != newest["digest"]
    (victim,) = (path for path in (corpora / "one" / "snapshots").glob("2-files-*"))
    victim.write_bytes(b"")
    assert run(["corpus", "verify", "one@1"]) == 0
    assert run(["corpus", "verify", "one@2"]) == 1
    assert victim.name in capsys.readouterr().err
