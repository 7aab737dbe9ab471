"""`irodori corpus tags` as its users meet it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import one_line
from tests.tagged_pictures import tagged_corpus

CALL = ["corpus", "tags", "corpus"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tags")
    tagged_corpus(folder)
    return folder


@pytest.fixture(autouse=True)
def _desk(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built)


def test_the_summary_shows_head_and_tail_and_the_file_holds_every_tag(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*CALL, "--top", "5", "--out", "tags.json"]) == 0
    said = capsys.readouterr().out
    document = json.loads((built / "tags.json").read_text())
    assert len(document["tags"]) == 5 < document["distinct"]
    assert f"5 of {document['distinct']} source tags (general)" in said
    for entry in (document["tags"][0], document["tags"][-1]):
        assert any(line.split()[1:] == [entry["tag"], str(entry["train"])] for line in said.splitlines())
    assert "written to tags.json" in said


def test_json_is_the_same_document(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["corpus", "tags", "corpus@1", "--from", "predicted", "--kinds", "general, character", "--alpha", "balanced"]
    assert run([*call, "--json", "--out", "predicted.json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((built / "predicted.json").read_text())
    assert (told["origin"], told["kinds"], told["weighting"]) == ("predicted", ["general", "character"], "balanced")
    assert {"picture", "bright", "character:sun"} <= {entry["tag"] for entry in told["tags"]}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ([*CALL, "--top", "0"], "--top"),
        ([*CALL, "--from", "guess"], "source, predicted"),
        ([*CALL, "--kinds", "colour"], "general, character, copyright, artist, meta"),
        ([*CALL, "--from", "predicted", "--kinds", "artist"], "general, character, not artist"),
        ([*CALL, "--general-threshold", "0.01"], "between 0.05 and 1"),
        ([*CALL, "--alpha", "none"], "inverse, balanced"),
    ],
)
def test_a_wrong_call_is_2_and_one_line(capsys: pytest.CaptureFixture[str], call: list[str], named: str) -> None:
    assert run(call) == 2
    assert named in one_line(capsys)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["corpus", "tags", "nowhere"], "there is no corpus here"),
        (["corpus", "tags", "corpus@7"], "there is no snapshot 7"),
        ([*CALL, "--kinds", "artist", "--out", "none.json"], "no row of train in snapshot 1 has source tags (artist)"),
    ],
)
def test_what_cannot_be_is_1_and_one_line(
    built: Path, capsys: pytest.CaptureFixture[str], call: list[str], said: str
) -> None:
    assert run(call) == 1
    assert said in one_line(capsys)
    assert not (built / "none.json").exists()


def test_a_wrong_call_imports_nothing_heavy() -> None:
    heavy = ("pyarrow", "boto3", "torch", "ray", "mlflow", "cv2")
    code = (
        f"import sys; from jobs.cli import run; run({[*CALL, '--alpha', 'none']}); "
        f"sys.exit(str([m for m in {heavy} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[4], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip().endswith("[]"), done.stderr
