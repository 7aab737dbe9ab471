"""What all commands `irodori corpus` have in common: wrong calls, refusals, help."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import run
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


@pytest.mark.parametrize(("call", "named"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_wrong_call_is_2_and_one_line(
    corpora: Path, capsys: pytest.CaptureFixture[str], call: list[str], named: str
) -> None:
    assert run(call) == 2
    assert named in one_line(capsys)
    assert sorted(path.name for path in corpora.iterdir()) == ["one", "two"]


@pytest.mark.parametrize(
    ("call", "said"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_is_refused_is_1_and_one_line_and_nothing_is_written(
    corpora: Path, capsys: pytest.CaptureFixture[str], call: list[str], said: str
) -> None:
    before = sorted(corpora.rglob("*"))
    assert run(call) == 1
    assert said in one_line(capsys)
    assert sorted(corpora.rglob("*")) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run([*command.split(), "--help"]) == 0
    assert f"Usage: irodori {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "call", [["corpus", "gc", "--help"], [*EXPORT, "--to", "zip"], ["corpus", "merge", "a"]], ids=str
)
def test_help_and_wrong_calls_import_nothing_heavy(call: list[str]) -> None:
    code = f"import sys; from jobs.cli import run; run({call}); sys.exit(str([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("[]"), done.stderr
