"""`irodori lineage`."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataprep.pictures.decode import encode_png
from dataprep.sources.items import MOST_BYTES
from jobs.cli import run
from pipelines.colorization.provenance import embed, extract
from tests.corpus_pictures import picture
from tests.jobs.command import one_line


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


@pytest.fixture
def coloured(desk: Path, checkpoint: str, capfd: pytest.CaptureFixture[str]) -> Path:
    """A picture of a checkpoint that has a chain of its own."""
    shutil.copytree(checkpoint, desk / "run" / "checkpoint")
    chain = {
        "nodes": [
            {"id": "/c", "kind": "corpus", "name": "snapshot 1"},
            {"id": str(desk / "run" / "checkpoint"), "kind": "checkpoint", "name": "v1.noisy"},
        ],
        "edges": [{"from": "/c", "to": str(desk / "run" / "checkpoint")}],
    }
    (desk / "run" / "lineage.json").write_text(json.dumps({"run_id": "0" * 32, "chain": chain}))
    for number, name in enumerate(("line.png", "colours.png")):
        (desk / name).write_bytes(encode_png(picture(number)))
    call = ["--sketch", "line.png", "--reference", "colours.png", "--checkpoint", "run", "--steps", "1"]
    assert run(["colorize", *call, "--out", "made.png"]) == 0
    capfd.readouterr()
    return desk / "made.png"


def test_a_picture_leads_back_to_its_inputs_its_checkpoint_and_the_corpus(
    coloured: Path, desk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["lineage", "made.png", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert {node["kind"]: node["name"] for node in document["nodes"]} == {
        "picture": "made.png",
        "sketch": "line.png",
        "reference": "colours.png",
        "checkpoint": "v1.noisy",
        "corpus": "snapshot 1",
    }
    edges = {(edge["from"], edge["to"]) for edge in document["edges"]}
    made = str(coloured)
    weights = str(desk / "run" / "checkpoint")
    assert edges == {
        ("/c", weights),
        *((start, made) for start in (weights, str(desk / "line.png"), str(desk / "colours.png"))),
    }
    assert "notes" not in document
    assert run(["lineage", "made.png"]) == 0
    assert capfd.readouterr().out.startswith("picture     made.png")


def test_what_has_changed_since_is_noted(coloured: Path, desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (desk / "line.png").write_bytes(encode_png(picture(7)))
    (desk / "colours.png").unlink()
    shutil.rmtree(desk / "run")
    assert run(["lineage", "made.png"]) == 0
    notes = [line for line in capfd.readouterr().out.splitlines() if line.startswith("note: ")]
    assert notes == [
        f"note: {desk / 'line.png'}: the sketch is another than the picture was made of",
        f"note: {desk / 'colours.png'}: the reference is not there any more",
        f"note: {desk / 'run' / 'checkpoint'}: the checkpoint is not there any more",
    ]


def test_a_picture_and_its_inputs_are_read_within_bounds(
    coloured: Path, desk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("line.png", "made.png"):
        with (desk / name).open("r+b") as file:
            file.truncate(MOST_BYTES + 1)  # sparse: it takes no room
        code = run(["lineage", "made.png"])
        said = capfd.readouterr()
        assert code == int(name == "made.png")
        assert f"{name}: the file has 268,435,457 bytes, more than the 268,435,456 that are read" in said.out + said.err
        assert "not there any more" not in said.out


def test_addresses_elsewhere_in_a_picture_are_named_and_not_asked_for(
    coloured: Path, desk: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nothing answers there
    recorded = extract(coloured.read_bytes(), "")
    away = replace(
        recorded,
        sketch=replace(recorded.sketch, address="s3://theirs/line.png"),
        checkpoint=replace(recorded.checkpoint, address="s3://theirs/run/checkpoint"),
    )
    (desk / "theirs.png").write_bytes(embed(encode_png(np.zeros((8, 8, 3), np.uint8)), away))
    assert run(["lineage", "theirs.png", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["notes"] == [
        "s3://theirs/run/checkpoint: not asked for: irodori lineage s3://theirs/run/checkpoint"
    ]
    assert {"s3://theirs/line.png", "s3://theirs/run/checkpoint"} <= {node["id"] for node in document["nodes"]}


def test_a_picture_that_irodori_did_not_make_has_no_chain(desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(desk / "mine.png")
    assert run(["lineage", "mine.png"]) == 1
    assert "mine.png: no picture that `irodori colorize` made" in one_line(capfd)
