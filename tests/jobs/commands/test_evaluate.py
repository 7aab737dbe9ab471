"""`irodori evaluate`."""

import json
from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import irodori, one_line


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
        "self",
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
    assert (document["samples"], document["protocol"]) == (2, "self")
    assert {line.split("  ")[0] for line in done.stderr.splitlines()} == {"evaluate self"}
    assert (desk / "score" / "evaluate.log").is_file()
    chain = json.loads(irodori("lineage", "score", "--json", cwd=desk).stdout)
    assert {node["kind"] for node in chain["nodes"]} == {"source", "checkpoint", "corpus", "evaluation"}
    assert all(edge.keys() == {"from", "to"} for edge in chain["edges"])
