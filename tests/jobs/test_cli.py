"""The command line as its users meet it: exit codes, one clear line, nearest names, speed, and `--json` on its own.

Most tests run it in this process by `run`, as `main` does; what depends on the process has one of its own.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.cli import run
from pipelines import lineage
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
    (["foo"], "colorize, corpus, demo, doctor, evaluate, lineage, plan, train"),
    (["corpus", "inof"], "info"),
    (["corpus", "xyz"], "browse, build, diff, export, gc, info, merge, tags, verify"),
    (["--jsn"], "--help"),
    ([*TRAIN, "--wrkers", "2"], "--workers"),
    (["train", "--zzz"], "--corpus, --dry-run, --from"),
    (["train"], "stage"),
    (["train", "v1.noisy", "--out", "o"], "--corpus is missing"),
    (["train", "v1.noisy", "--corpus", "c"], "--out is missing"),
    (["colorize", "--sketch", "a.png", "b.png"], "again for each of its files"),
    (["evaluate", "--checkpoint"], "--checkpoint"),
    ([*TRAIN, "--workers", "many"], "--workers"),
    ([*TRAIN, "--workers", "0"], "--workers"),
    ([*TRAIN, "--workers", "7"], "cannot be dealt out equally to 7 workers"),
    ([*TRAIN, "--model-size", "huge"], "base, tiny"),
    ([*TRAIN, "--set", "lerning_rate=1"], "learning_rate"),
    ([*TRAIN, "--set", "learning_rate=fast"], "a number"),
    ([*TRAIN, "--set", "learning_rate"], "key=value"),
    ([*TRAIN, "--set", "width=100"], "multiples of 8"),
    ([*TRAIN, "--set", "stage=v1.refine"], "stage"),
    (["train", "v1.refine", "--corpus", "c", "--out", "o"], "give its output with --from"),
    (["train", "v1.nosy", "--corpus", "c", "--out", "o"], "v1.noisy"),
    ([*EVALUATE, "--protocol", "known-anwser"], "known-answer"),
    ([*EVALUATE, "--protocol", "zzz"], "deformed-reference, known-answer, random-reference, self"),
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
    (["colorize", "--sketch", "bad.png", "--reference", "bad.png", "--out", "o.png"], "irodori demo"),
    (["colorize", "--sketch", "bad.png", "--reference", "bad.png", "--out", "o.png", "--checkpoint", "m"], "m"),
    ([*TRAIN], "there is no corpus here"),
    ([*EVALUATE, "--protocol", "self"], "holds no checkpoint"),
    (["corpus", "build", "--source", "nowhere", "--out", "o", "--dry-run"], "no pictures here"),
]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an empty folder and a file that is no picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"no picture")
    return tmp_path


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


# ---- work --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(untrained_checkpoint: str) -> str:
    return untrained_checkpoint


@pytest.fixture(scope="module")
def corpus(drawn_corpus: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("corpus")
    out = str(shutil.copytree(drawn_corpus, folder / "corpus"))
    with lineage.run("corpus", "corpus build", out, f"sqlite:///{folder / 'runs.db'}", {}) as traced:
        traced.finish(lineage.Node(out, "corpus", "snapshot 1"), [], [str(folder / "pictures")])
    return out


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


def test_browse_says_where_its_page_is(corpus: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "browse", corpus, "--samples", "3", "--out", "page.html", "--json"]) == 0
    size = (desk / "page.html").stat().st_size
    told = {"page": "page.html", "snapshot": 1, "rows": 16, "samples": 3, "bytes": size}
    assert json.loads(capsys.readouterr().out) == told


def test_a_dry_run_of_training_prints_the_recipe_and_writes_nothing(
    corpus: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "v1.noisy", "--corpus", corpus, "--out", "o", "--workers", "2", "--set", "seed=4", "--dry-run"]
    assert run(call) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["stage"], document["seed"], document["dealt_out"]["workers"]) == ("v1.noisy", 4, 2)
    assert not (desk / "o").exists()


def test_a_recipe_is_shown_without_a_corpus_or_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "v1.refine", "--model-size", "base", "--dry-run"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["stage"], document["epochs"], document["reference_drop"]) == ("v1.refine", 2, 0.5)


def test_a_dry_run_of_a_build_writes_nothing(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(desk / "pictures", 2)
    (desk / "mine.yaml").write_text("base: demo\nfilters: {min_side: 32}\n")
    assert run(["corpus", "build", "--source", "pictures", "--out", "o", "--recipe", "mine.yaml", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert '"min_side": 32' in said
    assert '"shard_rows": 64' in said
    assert "would read 2 of 2 pictures" in said
    assert not (desk / "o").exists()


def test_a_moving_average_that_is_not_there_is_refused_before_work_starts(
    corpus: str, checkpoint: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["evaluate", "--checkpoint", checkpoint, "--corpus", corpus, "--protocol", "self", "--out", "o", "--ema"]
    assert run(call) == 1
    assert "holds no moving average" in one_line(capsys)
    assert not (desk / "o").exists()


@pytest.mark.ray
def test_an_evaluation_and_its_lineage_through_the_door(corpus: str, checkpoint: str, desk: Path) -> None:
    """A Ray of its own, as a user starts it; `--json` leaves one document on stdout, stderr only progress."""
    store = f"sqlite:///{desk / 'runs.db'}"
    where = ["--checkpoint", checkpoint, "--corpus", corpus, "--out", "score", "--tracking-uri", store]
    done = irodori(
        "evaluate",
        *where,
        "--protocol",
        "deformed-reference",
        "--limit",
        "2",
        "--set",
        "sampler=ddim",
        "--steps",
        "2",
        "--json",
        cwd=desk,
    )
    document = json.loads(done.stdout)
    assert (document["sampling"]["sampler"], document["sampling"]["steps"]) == ("ddim", 2)
    assert document.keys() >= {"scores", "samples", "protocol", "feature_network", "checkpoint", "snapshot"}
    assert (document["samples"], document["protocol"]) == (2, "deformed-reference")
    assert {line.split("  ")[0] for line in done.stderr.splitlines()} == {"evaluate deformed-reference"}
    assert (desk / "score" / "evaluate.log").is_file()
    chain = json.loads(irodori("lineage", "score", "--json", cwd=desk).stdout)
    assert {node["kind"] for node in chain["nodes"]} == {"source", "checkpoint", "corpus", "evaluation"}
    assert all(edge.keys() == {"from", "to"} for edge in chain["edges"])


def test_a_reader_that_leaves_is_no_failure(corpus: str) -> None:
    command = [str(Path(sys.executable).with_name("irodori")), "corpus", "info", corpus]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


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
