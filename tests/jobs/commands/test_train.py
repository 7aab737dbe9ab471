"""`irodori train`."""

import json
from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import irodori


def test_a_dry_run_of_training_prints_the_recipe_and_writes_nothing(
    corpus: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "v1.noisy", "--corpus", corpus, "--out", "o", "--workers", "2", "--set", "seed=4", "--dry-run"]
    assert run(call) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["stage"], document["seed"], document["dealt_out"]["workers"]) == ("v1.noisy", 4, 2)
    assert not (desk / "o").exists()


def test_a_corpus_without_the_sketches_of_the_published_size_is_answered_with_those_that_it_has(
    corpus: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "v1.noisy", "--model-size", "base", "--corpus", corpus, "--out", "o", "--dry-run"]
    assert run(call) == 1
    told = capsys.readouterr().err
    assert "no sketches of the style keras and anime2sketch and simplified, which v1.noisy (base) opens" in told
    assert "--set styles=drawn,xdog" in told


@pytest.mark.seconds
def test_the_published_size_is_refused_at_once_on_a_machine_without_gpus(corpus: str, desk: Path) -> None:
    """In a process of its own: a Ray that other tests started here would be asked instead."""
    call = ["train", "v1.noisy", "--model-size", "base", "--corpus", corpus, "--out", str(desk / "o")]
    told = irodori(*call, cwd=desk, env={"CUDA_VISIBLE_DEVICES": ""}, code=1).stderr
    assert "v1.noisy at size base with 1 worker needs 1 GPU and this machine has none" in told
    assert told.rstrip().endswith("or CPUs: --device cpu")
    assert len(told.splitlines()) == 1
    assert not (desk / "o").exists()


def test_a_recipe_is_shown_without_a_corpus_or_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "v1.refine", "--model-size", "base", "--dry-run"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["stage"], document["epochs"], document["reference_drop"]) == ("v1.refine", 2, 0.5)
