"""Sweeps on Ray: every cell once, failures that cost their cell alone, and what the leaderboard compares."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep.pictures.decode import encode_png
from pipelines import lineage
from pipelines.common.errors import PipelineError
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.features import read_results
from pipelines.evaluation.plan import EvaluatePlan, plan_evaluation
from pipelines.evaluation.sampling import DEFAULT_SAMPLING
from pipelines.evaluation.scoring.hand_over import checked_pictures, name_of, pictures_in
from pipelines.evaluation.scoring.write_pairs import write_pairs
from pipelines.sweep.leaderboard import failures, rankings, read_cells, text
from pipelines.sweep.recipe import SweepRecipe
from pipelines.sweep.run import run_sweep
from tests.pipelines.training.untrained import write_checkpoint, write_corpus

PAIRS = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_corpus(tmp_path_factory.mktemp("sweep-corpus"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_checkpoint(tmp_path_factory.mktemp("sweep-run") / "checkpoint")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('sweep-store') / 'runs.db'}"


def theirs(corpus: str, folder: Path, **choices: Any) -> EvaluatePlan:
    """An evaluation of a few pairs, coloured by others or for them."""
    fixed: dict[str, Any] = {"sampling": DEFAULT_SAMPLING, "limit": PAIRS, "size": (64, 64)}
    return plan_evaluation("starter", corpus, "self", str(folder / "out"), **fixed, **choices)


@pytest.fixture(scope="module")
def others(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What another system made: the reference itself, at twice the size."""
    folder, results = tmp_path_factory.mktemp("handed-over"), tmp_path_factory.mktemp("others")
    for seed in (0, 1):
        plan = theirs(corpus, folder, seed=seed)
        write_pairs(plan, str(folder))
        for pair in plan.pairs:
            reference = folder / f"{name_of(pair)}-reference.png"
            assert (folder / f"{name_of(pair)}-sketch.png").is_file()
            (results / f"{name_of(pair)}.png").write_bytes(reference.read_bytes())
    return results


def recipe(corpus: str, checkpoint: str, others: Path) -> SweepRecipe:
    return SweepRecipe(
        corpus=corpus,
        protocols=("self",),
        checkpoints=(checkpoint,),
        pictures={"copies": str(others)},
        sampling={"steps": (1, 2)},
        seeds=(0, 1),
        metrics=("ssim", "fid_efficientnet_lite0_320"),
        limit=PAIRS,
        small_sets=True,
    )


@pytest.mark.ray
def test_a_sweep_scores_every_cell_once_and_a_failed_one_costs_its_cell(
    ray_engine: None, corpus: str, checkpoint: str, others: Path, store: str, tmp_path: Path
) -> None:
    out, wanted = str(tmp_path / "out"), recipe(corpus, checkpoint, others)
    broken = replace(wanted, checkpoints=(checkpoint, str(tmp_path / "absent")))
    first = run_sweep(broken, out, size=(64, 64), log_file=tmp_path / "log", tracking_uri=store)
    assert (len(first.scored), len(first.reused), len(first.failed)) == (6, 0, 4)
    assert all("holds no checkpoint" in why for why in first.failed.values())
    assert failures(out) == first.failed
    chain = lineage.find_chain(out)
    assert {node.kind for node in chain.nodes} >= {"checkpoint", "corpus", "evaluation", "sweep"}

    # again: nothing is left to do; a seed more makes its cells alone
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").rglob("scores.json")}
    again = run_sweep(wanted, out, size=(64, 64), log_file=tmp_path / "none", tracking_uri=store)
    assert (again.scored, set(again.reused), again.failed) == ((), set(first.scored), {})
    assert not (tmp_path / "none").exists()
    more = run_sweep(
        replace(wanted, seeds=(0, 1, 2), pictures={}), out, size=(64, 64), log_file=tmp_path / "log", tracking_uri=store
    )
    assert (len(more.scored), len(more.reused)) == (2, 4)
    assert {path: path.stat().st_mtime_ns for path in before} == before

    board = rankings(read_cells(out))
    assert [ranking.score for ranking in board] == ["fid_efficientnet_lite0_320_small_set", "ssim"]
    ssim = board[1]
    assert {(entry.scored, entry.settings, entry.seeds) for entry in ssim.entries} == {
        ("copies", "", (0, 1)),
        *((checkpoint, f"steps={steps}", (0, 1, 2)) for steps in (1, 2)),
    }
    values = [entry.value for entry in ssim.entries]
    assert values == sorted(values, reverse=True)
    steps_2 = next(entry for entry in ssim.entries if entry.settings == "steps=2")
    rows = [row["ssim"] for uri in steps_2.outputs for row in read_results(uri)]
    assert steps_2.value == pytest.approx(np.mean(rows))
    assert steps_2.interval is not None
    assert steps_2.interval[0] <= steps_2.value <= steps_2.interval[1]
    assert board[0].network.startswith("efficientnet_lite0_320@")
    shown = text(board, {})
    assert max(map(len, shown.splitlines())) <= 80, shown
    assert "(2 seeds only)" in shown
    assert "(ssim; higher is better)" in shown


def test_pictures_of_another_system_are_found_by_the_names_of_their_pairs(
    corpus: str, others: Path, tmp_path: Path
) -> None:
    plan = theirs(corpus, tmp_path, pictures=str(others))
    assert (plan.checkpoint, plan.metadata) == ("", None)
    found = pictures_in(str(others))
    assert plan.weights_sha256 == checked_pictures(str(others), plan.pairs)
    name = name_of(plan.pairs[0])
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / f"{name}.PNG").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(PipelineError, match=r"has no picture of 2 of 3 pairs, such as \w{12}-\w{12}-\d+.png"):
        checked_pictures(str(tmp_path / "some"), plan.pairs)
    assert {name_of(pair) for pair in plan.pairs} < set(found), "those of another seed too"


@pytest.mark.ray
def test_they_are_scored_as_results_are(
    ray_engine: None, corpus: str, others: Path, store: str, tmp_path: Path
) -> None:
    """The reference is the original here, at another size: squashed, both are the same."""
    plan = theirs(corpus, tmp_path, pictures=str(others), resize="squash")
    document = evaluate(plan, log_file=tmp_path / "log", tracking_uri=store)
    assert document["reasons"]["psnr"] == "a result equals its truth"
    assert document["scores"]["ssim"] == pytest.approx(1, abs=1e-4)
    assert (document["checkpoint"], document["pictures"], document["stage"]) == (None, str(others), None)
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["pictures"] == str(others)
