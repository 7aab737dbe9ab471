"""The command line as its users meet it: exit codes, one clear line, nearest names, speed, and `--json` on its own.

Most tests run it in this process by `run`, as `main` does; what depends on the process has one of its own.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.cli import run
from pipelines.common.versions import code_version
from tests.corpus_pictures import write_pictures
from tests.jobs.command import irodori, one_line

COMMANDS = [
    "corpus build",
    "corpus info",
    "corpus verify",
    "corpus browse",
    "corpus diff",
    "corpus gc",
    "corpus export",
    "corpus merge",
    "corpus tags",
    "plan",
    "train",
    "colorize",
    "evaluate",
    "lineage",
    "tracking sync",
    "doctor",
    "demo",
]
MOST_SECONDS = 1.5
HEAVY = ("torch", "ray", "mlflow", "diffusers", "deepspeed", "cv2")
TRAIN = ["train", "v1.noisy", "--corpus", "c", "--out", "o"]
EVALUATE = ["evaluate", "--checkpoint", "m", "--corpus", "c", "--out", "o"]

# (call, what the line must name)
WRONG = [
    (["colorise"], "colorize"),
    (["foo"], "colorize, corpus, demo, doctor, evaluate, lineage, plan, report, sweep, tracking, train"),
    (["corpus", "inof"], "info"),
    (["corpus", "xyz"], "browse, build, diff, export, gc, info, merge, tags, verify"),
    (["--jsn"], "--help"),
    ([*TRAIN, "--wrkers", "2"], "--workers"),
    (["train", "--zzz"], "--corpus, --device, --dry-run, --from"),
    (["train"], "stage"),
    (["train", "v1.noisy", "--out", "o"], "--corpus is missing"),
    (["train", "v1.noisy", "--corpus", "c"], "--out is missing"),
    (["colorize", "--sketch", "a.png", "--out", "o", "b.png"], "b.png): no option before it takes several values"),
    (["evaluate", "--checkpoint"], "--checkpoint"),
    ([*TRAIN, "--workers", "many"], "--workers"),
    ([*TRAIN, "--workers", "0"], "--workers"),
    ([*TRAIN, "--workers", "7"], "cannot be dealt out equally to 7 workers"),
    ([*TRAIN, "--model-size", "huge"], "base, small, tiny"),
    ([*TRAIN, "--set", "lerning_rate=1"], "learning_rate"),
    ([*TRAIN, "--set", "learning_rate=fast"], "a number"),
    ([*TRAIN, "--set", "learning_rate"], "key=value"),
    ([*TRAIN, "--set", "width=100"], "multiples of 8"),
    ([*TRAIN, "--set", "stage=v1.refine"], "stage"),
    (["train", "v1.refine", "--corpus", "c", "--out", "o"], "give its output with --from"),
    (["train", "v1.nosy", "--corpus", "c", "--out", "o"], "v1.noisy"),
    ([*EVALUATE, "--protocol", "known-anwser"], "known-answer"),
    ([*EVALUATE, "--protocol", "zzz"], "deformed-reference, known-answer, random-reference, rasc-A, rasc-B"),
    ([*EVALUATE, "--protocol", "self", "--set", "samplr=ddim"], "sampler"),
    (["corpus", "build", "--source", "s", "--out", "o", "--recipe", "dmeo"], "demo"),
    (["corpus", "build", "--source", "s", "--out", "o", "--set", "filters.min_sid=1"], "min_side"),
]

# (call, what the line must say); everything is said before work starts
REFUSED = [
    (["corpus", "info", "nowhere"], "nowhere: there is no corpus here"),
    (["corpus", "verify", "nowhere"], "nowhere: there is no corpus here"),
    (["lineage", "nowhere"], "nowhere has no lineage.json"),
    (["colorize", "--sketch", "empty", "--reference", "bad.png", "--out", "o.png"], "empty: there is no picture"),
    (["colorize", "--sketch", "absent.png", "--reference", "bad.png", "--out", "o.png"], "absent.png"),
    (["colorize", "--sketch", "bad.png", "--reference", "bad.png", "--out", "o.png"], "bad.png: a text, not a picture"),
    (["colorize", "--sketch", "bad.png", "--reference", "bad.png", "--out", "o.png", "--checkpoint", "m"], "m"),
    ([*TRAIN], "there is no corpus here"),
    ([*EVALUATE, "--protocol", "self"], "holds no checkpoint"),
    (["corpus", "build", "--source", "nowhere", "--out", "o", "--dry-run"], "no pictures here"),
]


# ---- wrong calls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "named"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_wrong_call_is_2_and_one_line_that_names_what_is_valid(
    desk: Path, capsys: pytest.CaptureFixture[str], call: list[str], named: str
) -> None:
    assert run(call) == 2
    assert named in one_line(capsys)
    assert sorted(path.name for path in desk.iterdir()) == ["bad.png", "empty"]


@pytest.mark.parametrize("call", [[], ["corpus"]], ids=str)
def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str], call: list[str]) -> None:
    assert run(call) == 2
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run([*command.split(), "--help"]) == 0
    said = capsys.readouterr()
    assert f"Usage: irodori {command}".strip() in said.out
    assert said.err == ""


@pytest.mark.seconds
@pytest.mark.parametrize(
    "call",
    [
        ["--help"],
        ["train", "--help"],
        ["corpus", "browse", "--help"],
        ["corpus", "diff", "--help"],
        ["plan", "--help"],
        ["foo"],
        [*TRAIN, "--workers", "7"],
        [*EVALUATE, "--protocol", "selv"],
    ],
    ids=" ".join,
)
def test_help_and_wrong_calls_import_nothing_heavy(call: list[str]) -> None:
    """The time they take depends on the machine, what they import does not."""
    code = f"import sys; from jobs.cli import run; run({call}); sys.exit(str([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("[]"), done.stderr


@pytest.mark.seconds
@pytest.mark.parametrize("call", [["--help"], ["foo"], [*TRAIN, "--set", "x=1"]], ids=" ".join)
def test_help_and_wrong_calls_answer_at_once(call: list[str]) -> None:
    took = []
    for _ in range(3):
        started = time.perf_counter()
        irodori(*call, code=0 if call == ["--help"] else 2)
        took.append(time.perf_counter() - started)
    assert min(took) < MOST_SECONDS


# ---- version and completion ---------------------------------------------------------------------------------------


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"irodori {code_version()}\n"


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("words", "offered"),
    [("irodori col", ["colorize"]), ("irodori train --fr", ["--from"])],
    ids=lambda value: str(value),
)
def test_a_shell_completes_commands_and_options(words: str, offered: list[str]) -> None:
    count = str(len(words.split()) - 1)
    asked = {"_IRODORI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": count}
    assert irodori(env=asked).stdout.split() == offered


# ---- what is missing or refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_is_missing_is_1_and_one_line_that_says_what(
    desk: Path, capsys: pytest.CaptureFixture[str], call: list[str], said: str
) -> None:
    assert run(call) == 1
    assert said in one_line(capsys)


@pytest.mark.parametrize(
    "call",
    [
        ["corpus", "info", "s3://x/c"],
        ["corpus", "verify", "s3://x/c"],
        ["corpus", "build", "--source", "s3://x/p", "--out", "o", "--dry-run"],
        ["lineage", "s3://x/o"],
        ["train", "v1.noisy", "--corpus", "s3://x/c", "--out", "o"],
        ["train", "v1.noisy", "--corpus", "c", "--out", "s3://x/o"],
        ["evaluate", "--checkpoint", "s3://x/m", "--corpus", "c", "--protocol", "self", "--out", "o"],
        ["colorize", "--sketch", "s3://x/s.png", "--reference", "bad.png", "--out", "o.png"],
        ["colorize", "--sketch", "bad.png", "--reference", "bad.png", "--out", "s3://x/o"],
    ],
    ids=" ".join,
)
def test_a_dead_endpoint_is_said_within_seconds(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, call: list[str]
) -> None:
    for name, value in (("ENDPOINT_URL", "http://127.0.0.1:9"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{name}", value)
    started = time.monotonic()
    assert run(call) == 1
    assert time.monotonic() - started < 10
    assert "the S3 server at http://127.0.0.1:9 does not answer. Check AWS_ENDPOINT_URL" in one_line(capsys)


@pytest.mark.s3
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("AWS_SECRET_ACCESS_KEY", "wrong", "refuses these credentials"), ("", "", "no such bucket")],
)
def test_a_wrong_credential_and_a_missing_bucket_are_said(
    s3_bucket: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    said: str,
) -> None:
    if name:
        monkeypatch.setenv(name, value)
    corpus = f"{s3_bucket if name else 's3://no-bucket-of-ours'}/c"
    assert run(["train", "v1.noisy", "--corpus", corpus, "--out", "o"]) == 1
    assert said in one_line(capsys)


@pytest.mark.parametrize("out", ["bad.png/x", "/proc/x"])
def test_an_output_that_cannot_be_written_is_one_line(
    desk: Path, capsys: pytest.CaptureFixture[str], out: str, checkpoint: str
) -> None:
    write_pictures(desk / "pictures", 1)
    call = ["colorize", "--sketch", "pictures", "--reference", "pictures", "--checkpoint", checkpoint, "--out", out]
    assert run(call) == 1
    assert out in one_line(capsys)


def test_an_unexpected_failure_is_one_line_that_names_the_whole_story(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A NUL in an address is foreseen nowhere."""
    assert run(["corpus", "info", "a\0b"]) == 1
    line = one_line(capsys)
    story = Path(line[line.index("/") :].rstrip(")\n"))
    assert "Traceback" in story.read_text()
    story.unlink()


# ---- results ------------------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_failure(corpus: str) -> None:
    command = [str(Path(sys.executable).with_name("irodori")), "corpus", "info", corpus]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
