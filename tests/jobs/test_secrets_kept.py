"""Marked secrets in every place that takes one: none of them is in anything that is printed or written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dataprep.secrets import SECRET_VARIABLES
from jobs.cli import run
from pipelines import lineage
from pipelines.common.errors import PipelineError
from pipelines.tracking.outbox import held
from tests.corpus_pictures import write_pictures
from tests.jobs.command import irodori
from tests.pipelines.training.train_helpers import wait_for

MARK = "markedsecret"
# Places that take a secret: the environment, and addresses that hold one.
ENVIRONMENT = {name: f"{MARK}{number}" for number, name in enumerate(SECRET_VARIABLES)} | {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_ENDPOINT_URL": f"http://me:{MARK}@127.0.0.1:9",
    "HTTP_PROXY": f"http://me:{MARK}@127.0.0.1:9",
    "MLFLOW_TRACKING_USERNAME": "me",
    "MLFLOW_TRACKING_URI": f"http://me:{MARK}@127.0.0.1:9",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
STORES = (
    f"http://me:{MARK}@127.0.0.1:9",
    f"https://{MARK}@127.0.0.1:9",
    f"postgresql://me:{MARK}@127.0.0.1:9/db",
    f"sqlite+what://me:{MARK}@x",
    f"gs://me:{MARK}@x",
    f"what://me:{MARK}@x",
)


def written(folder: Path) -> list[str]:
    """The files below a folder that hold the mark, in their content or in their name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if MARK.encode() in path.read_bytes() or MARK in str(path.relative_to(folder))]


@pytest.fixture
def secret(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which all temporary files lie too."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (desk / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(desk / "tmp"))
    return desk


def wait_until_sent_or_kept(out: str) -> None:
    """The thread that sends gives its outbox back when its call returns."""
    wait_for(lambda: not held(out), 30)


CALLS = [
    *(["lineage", "0" * 32, "--tracking-uri", store] for store in STORES),
    *(["tracking", "sync", "empty", "--tracking-uri", store] for store in STORES),
    ["lineage", "0" * 32],
    ["corpus", "info", "s3://bucket/c"],
    ["corpus", "info", f"s3://me:{MARK}@bucket/c"],
    ["corpus", "info", f"https://me:{MARK}@host/c"],
    ["corpus", "info", f"https://host/c?X-Amz-Signature={MARK}"],
    ["corpus", "info", "a\0b"],
    ["weights", "inspect", "hf://someone/something/file.safetensors"],
    ["doctor"],
]


@pytest.mark.drill
def test_no_failure_shows_or_writes_a_secret(secret: Path) -> None:
    program = "import sys, json\nfrom jobs.cli import run\nfor call in json.loads(sys.stdin.read()): run(call)"

    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(CALLS),
        capture_output=True,
        text=True,
        cwd=secret,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("irodori: ") >= len(CALLS) - len(STORES)  # nothing to send is no failure
    assert MARK not in done.stdout + done.stderr
    assert written(secret) == []


TRAIN = ["train", "v1.noisy", "--corpus", "c", "--out", "o", "--model-size", "tiny", "--set", "learning_rate=1e-4"]


@pytest.mark.seconds
@pytest.mark.parametrize("store", STORES[:3])  # the call refuses the others
def test_a_recipe_keeps_no_secret_and_names_the_option_that_it_leaves_out(
    store: str, secret: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (secret / "c").mkdir()
    given = [*TRAIN, "--tracking-uri", store, "--set", f"note=http://x?token={MARK}"]
    assert run([*given, "--write-recipe", "mine.yaml"]) == 0
    said = capfd.readouterr()
    assert "left out: --tracking-uri, --set note" in said.out
    assert MARK not in said.out + said.err
    assert written(secret) == []
    kept = yaml.safe_load((secret / "mine.yaml").read_text())
    assert kept["set"] == {"learning_rate": "1e-4"}
    assert "tracking_uri" not in kept
    assert kept["model_size"] == "tiny"


@pytest.mark.seconds
@pytest.mark.parametrize("store", STORES)
def test_a_recipe_with_a_secret_hands_it_to_nothing_that_is_printed_or_written(
    store: str, secret: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    theirs = secret / "theirs.yaml"
    theirs.write_text(yaml.safe_dump({"tracking_uri": store, "set": {"note": store}}))
    (secret / "c").mkdir()
    for call in ([*TRAIN, "--write-recipe", "mine.yaml"], TRAIN, ["evaluate", "--protocol", "self", "--out", "e"]):
        run([*call, "--recipe", "theirs.yaml"])
    said = capfd.readouterr()
    assert said.err.count("irodori: ") >= 2
    assert MARK not in said.out + said.err
    assert written(secret) == [str(theirs)]


@pytest.mark.seconds
def test_traced_work_writes_no_secret(
    secret: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lineage, "PATIENCE_S", 0.5)
    for number, store in enumerate(STORES[:2]):
        out = str(secret / f"out{number}")
        with lineage.run("train", "x", out, store, {"seed": 0}) as run:
            run.log_metrics({"loss": 0.5})
            run.finish(lineage.Node(out, "evaluation", "x"), [])
        wait_until_sent_or_kept(out)
        assert (secret / f"out{number}" / "lineage.json").is_file()
        assert list((secret / f"out{number}" / "tracking").iterdir())
    for store in STORES[2:]:
        with pytest.raises(PipelineError) as refused, lineage.run("train", "x", str(secret / "no"), store, {}):
            pass
        assert MARK not in str(refused.value)
    assert MARK not in "".join(capfd.readouterr())
    assert written(secret) == []


@pytest.mark.drill
@pytest.mark.ray
def test_a_build_writes_no_secret_anywhere_its_engines_logs_included(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    write_pictures(secret / "pictures", 4)
    monkeypatch.delenv("TMPDIR")
    folder = Path("/tmp") / f"iro-secret-{os.getpid()}"
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    call = ["corpus", "build", "--source", "pictures", "--workers", "1", "--set", "filters.min_side=32", "--out", "out"]
    done = irodori(*call, cwd=secret)
    assert "takes no records" in done.stderr
    assert MARK not in done.stdout + done.stderr
    assert written(secret) == []
    assert written(folder) == []
