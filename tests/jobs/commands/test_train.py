"""`irodori train`."""

import json
from pathlib import Path

import pytest

from jobs.cli import run


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


def test_a_recipe_is_shown_without_a_corpus_or_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "v1.refine", "--model-size", "base", "--dry-run"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["stage"], document["epochs"], document["reference_drop"]) == ("v1.refine", 2, 0.5)
