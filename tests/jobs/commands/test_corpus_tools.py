"""`irodori corpus diff, export, gc, merge` and addresses with a snapshot, as their users meet them."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dataprep.corpus.snapshot import snapshot_numbers
from dataprep.corpus_tools.info import verify
from jobs.cli import run
from pipelines import lineage
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_pictures
from tests.jobs.command import one_line

COMMANDS = ["corpus diff", "corpus export", "corpus gc", "corpus merge"]
HEAVY = ("pyarrow", "boto3", "torch", "ray", "mlflow", "cv2")
EXPORT = ["corpus", "export", "one", "--out", "o"]

# (call, what the line must name)
WRONG = [
    (["corpus", "exprot"], "export"),
    ([*EXPORT, "--to", "zip"], "wide, webdataset, folders, official"),
    (EXPORT, "--to"),
    ([*EXPORT, "--to", "official", "--columns", "mask"], "columns of its own"),
    ([*EXPORT, "--to", "wide", "--style", "xdog"], "style chooses"),
    ([*EXPORT, "--to", "wide", "--limit", "0"], "--limit"),
    (["corpus", "gc", "one", "--keep", "0"], "--keep"),
    (["corpus", "gc", "one", "--older-than", "-1"], "--older-than"),
    (["corpus", "merge", "one", "--out", "o"], "at least two"),
    (["corpus", "merge", "one", "two", "--out", "o", "--columns", "some"], "all or shared"),
    (["corpus", "diff", "one"], "Missing argument"),
]

# (call, what the line must say)
REFUSED = [
    (["corpus", "info", "one@7"], "there is no snapshot 7; there are 1 to 2"),
    (["corpus", "verify", "one@7"], "there is no snapshot 7"),
    (["corpus", "gc", "nowhere"], "there is no corpus here"),
    ([*EXPORT, "--to", "wide", "--columns", "depth"], "there is no column depth"),
    (["corpus", "export", "one@9", "--out", "o", "--to", "wide"], "there is no snapshot 9"),
    (["corpus", "export", "one", "--out", "two", "--to", "wide"], "files here that are no export"),
    (["corpus", "merge", "one", "two", "--out", "one"], "there is a corpus here already"),
    (["corpus", "merge", "one@2", "one@1", "--out", "o"], "differ in region_map"),
    (["corpus", "merge", "one", "nowhere", "--out", "o"], "there is no corpus here"),
    (["corpus", "diff", "one@1", "nowhere"], "there is no corpus here"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpus `one` of eight pictures with two snapshots of other line art, `two` of four other pictures."""
    folder = tmp_path_factory.mktemp("shelf")
    for name, count, first in (("one", 8, 0), ("two", 4, 20)):
        source = write_pictures(folder / "source" / name, count, first=first)
        run_build([str(source)], str(folder / name), SMALL, engine=in_process)
    run_build([str(folder / "source" / "one")], str(folder / "one"), replace(SMALL, seed=1), engine=in_process)
    shutil.rmtree(folder / "one" / "plan", ignore_errors=True)
    return folder


@pytest.fixture
def desk(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with copies of the two corpora."""
    for name in ("one", "two"):
        shutil.copytree(built / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *call: str) -> dict:
    """The one document that the call prints."""
    assert run([*call, "--json"]) == 0
    document: dict = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize(("call", "named"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_wrong_call_is_2_and_one_line(
    desk: Path, capsys: pytest.CaptureFixture[str], call: list[str], named: str
) -> None:
    assert run(call) == 2
    assert named in one_line(capsys)
    assert sorted(path.name for path in desk.iterdir()) == ["one", "two"]


@pytest.mark.parametrize(
    ("call", "said"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_is_refused_is_1_and_one_line_and_nothing_is_written(
    desk: Path, capsys: pytest.CaptureFixture[str], call: list[str], said: str
) -> None:
    before = sorted(desk.rglob("*"))
    assert run(call) == 1
    assert said in one_line(capsys)
    assert sorted(desk.rglob("*")) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run([*command.split(), "--help"]) == 0
    assert f"Usage: irodori {command}" in capsys.readouterr().out


def test_info_and_verify_take_a_snapshot_by_its_number(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, newest = told(capsys, "corpus", "info", "one@1"), told(capsys, "corpus", "info", "one")
    assert (first["snapshot"], newest["snapshot"]) == (1, 2)
    assert first["digest"] != newest["digest"]
    (victim,) = (path for path in (desk / "one" / "snapshots").glob("2-files-*"))
    victim.write_bytes(b"")
    assert run(["corpus", "verify", "one@1"]) == 0
    assert run(["corpus", "verify", "one@2"]) == 1
    assert victim.name in capsys.readouterr().err


def test_gc_shows_first_and_then_removes(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "one" / "data" / "left.parquet").write_bytes(b"x" * 1000)
    dry = told(capsys, "corpus", "gc", "one", "--dry-run", "--older-than", "0")
    assert dry["remove"] == {"data files": {"files": 1, "bytes": 1000}}
    assert dry["removed"] is False
    young = told(capsys, "corpus", "gc", "one")
    assert (young["remove"], young["keep_for_now"]) == ({}, dry["remove"])
    assert (desk / "one" / "data" / "left.parquet").exists()
    assert run(["corpus", "gc", "one", "--older-than", "0"]) == 0
    assert "removed 1 file, 1.0 kB; 2 snapshots kept" in capsys.readouterr().out
    assert not (desk / "one" / "data" / "left.parquet").exists()
    assert run(["corpus", "gc", "one", "--older-than", "0", "--keep", "1"]) == 0
    assert snapshot_numbers("one") == [2]
    assert verify("one") == []


def test_an_export_says_what_it_holds(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["corpus", "export", "one@1", "--to", "folders", "--out", "out", "--columns", "color, sketch_xdog"]
    document = told(capsys, *call)
    assert (document["snapshot"], document["rows"], document["files"]) == (1, 8, 16)
    assert run(call) == 0
    said = capsys.readouterr()
    assert "folders of snapshot 1, 8 rows in 16 files" in said.out
    assert "were done already" in said.out
    assert {path.name for path in (desk / "out").iterdir()} == {"color", "sketch", "index.jsonl", ".export"}


@pytest.mark.ray
def test_an_export_on_ray_has_the_same_bytes(ray_engine: None, desk: Path) -> None:
    for out, how in (("alone", []), ("ray", ["--workers", "2"])):
        assert run(["corpus", "export", "one", "--to", "webdataset", "--out", out, *how]) == 0
    alone, ray = ({path.name: path.read_bytes() for path in (desk / out).rglob("*.tar")} for out in ("alone", "ray"))
    assert alone == ray
    assert alone
    assert {path.name for path in (desk / "ray").iterdir()} <= {".export", "train", "validation"}


@pytest.mark.seconds
def test_a_merge_makes_a_corpus_with_a_chain(desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = told(capfd, "corpus", "merge", "one@1", "two", "--out", "both")
    assert sum(document["rows"].values()) == 12
    assert verify("both") == []
    chain = lineage.find_chain("both")
    assert set(chain.edges) == {(str(desk / name), str(desk / "both")) for name in ("one", "two")}


def test_a_difference_is_told_and_equal_snapshots_are_equal(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "diff", "one@1", "one@1"]) == 0
    assert "one@1 and one@1 are equal: digest " in capsys.readouterr().out
    assert run(["corpus", "diff", "one@1", "one"]) == 0
    said = capsys.readouterr().out
    assert "sketch_xdog" in said
    assert "region_map" in said
    assert told(capsys, "corpus", "diff", "one@1", "one@2")["equal"] is False


@pytest.mark.parametrize(
    "call", [["corpus", "gc", "--help"], [*EXPORT, "--to", "zip"], ["corpus", "merge", "a"]], ids=str
)
def test_help_and_wrong_calls_import_nothing_heavy(call: list[str]) -> None:
    code = f"import sys; from jobs.cli import run; run({call}); sys.exit(str([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("[]"), done.stderr
