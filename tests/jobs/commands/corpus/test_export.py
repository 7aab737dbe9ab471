"""`irodori corpus export`."""

from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import irodori, json_of


def test_an_export_says_what_it_holds(corpora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["corpus", "export", "one@1", "--to", "folders", "--out", "out", "--columns", "color, sketch_xdog"]
    document = json_of(capsys, *call)
    assert (document["snapshot"], document["rows"], document["files"]) == (1, 8, 16)
    assert run(call) == 0
    said = capsys.readouterr()
    assert "folders of snapshot 1, 8 rows in 16 files" in said.out
    assert "were done already" in said.out
    assert {path.name for path in (corpora / "out").iterdir()} == {"train", "validation", "index.jsonl", ".export"}


@pytest.mark.ray
def test_an_export_on_ray_has_the_same_bytes(corpora: Path) -> None:
    """A Ray of its own, as a user starts it."""
    for out, how in (("alone", []), ("ray", ["--workers", "2"])):
        irodori("corpus", "export", "one", "--to", "webdataset", "--out", out, *how, cwd=corpora)
    alone, ray = ({path.name: path.read_bytes() for path in (corpora / out).rglob("*.tar")} for out in ("alone", "ray"))
    assert alone == ray
    assert alone
    assert {path.name for path in (corpora / "ray").iterdir()} <= {".export", "README.md", "train", "validation"}
