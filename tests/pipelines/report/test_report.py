"""Pages of a training, an evaluation and a sweep: what they show, and that they need no network."""

import csv
import re
from pathlib import Path

import pyarrow as pa
import pytest

from model.diffusion.sampling_settings import SamplingSettings
from pipelines.common.errors import PipelineError
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.extremes import read_extremes
from pipelines.evaluation.features import read_results
from pipelines.evaluation.plan import plan_evaluation
from pipelines.report.comparison import tables
from pipelines.report.report import write_report
from pipelines.sweep.recipe import SweepRecipe
from pipelines.sweep.run import run_sweep
from tests.pipelines.training.untrained import write_checkpoint, write_corpus

WRITTEN_BEFORE = Path(__file__).parents[2] / "assets" / "written_by_0_1"
PAIRS = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_corpus(tmp_path_factory.mktemp("report-corpus"))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("report-runs")
    return [write_checkpoint(folder / name / "checkpoint", 64, 64, seed) for seed, name in enumerate(("one", "two"))]


def text_of(page: str) -> str:
    """What a person reads of a page."""
    html = re.sub(r"<(style|script).*?</\1>", "", Path(page).read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.mark.ray
def test_an_evaluation_shows_its_best_and_worst_and_pairs_by_what_they_show(
    ray_engine: None, corpus: str, checkpoints: list[str], tmp_path: Path
) -> None:
    plan = plan_evaluation(
        checkpoints[0], corpus, "self", str(tmp_path / "score"), sampling=SamplingSettings(steps=1), limit=PAIRS
    )
    evaluate(plan, log_file=tmp_path / "log", tracking_uri=f"sqlite:///{tmp_path / 'runs.db'}")
    rows = read_results(plan.out)
    assert {row["pair_type"] for row in rows} == {"figure, figure"}
    extremes = read_extremes(plan.out)
    assert {row["metric"] for row in extremes} == {"psnr", "ssim", "ms_ssim"}
    best = next(row for row in extremes if (row["metric"], row["end"], row["rank"]) == ("psnr", "best", 1))
    assert best["psnr"] == max(row["psnr"] for row in rows)
    assert best["result_jpg"].startswith(b"\xff\xd8")
    page = write_report([plan.out], str(tmp_path / "page"))
    said = text_of(page)
    for words in ("Best by ", "Worst by ", "Sketch of a figure, reference with a figure", "One eval"):
        assert words in said, words
    assert "http" not in re.sub(r"Content-Security-Policy.*?>", "", Path(page).read_text().replace("http-equiv", ""))
    figures = list(csv.DictReader((tmp_path / "page" / "tables.csv").read_text().splitlines()))
    assert {row["source"] for row in figures} == {"ours"}


@pytest.mark.ray
def test_a_sweep_compares_the_same_pairs_side_by_side(
    ray_engine: None, corpus: str, checkpoints: list[str], tmp_path: Path
) -> None:
    recipe = SweepRecipe(
        corpus=corpus,
        protocols=("self",),
        checkpoints=tuple(checkpoints),
        sampling={"steps": (1, 2)},
        seeds=(0,),
        limit=PAIRS,
    )
    out = str(tmp_path / "sweep")
    run_sweep(recipe, out, log_file=tmp_path / "log", tracking_uri=f"sqlite:///{tmp_path / 'runs.db'}")
    said = text_of(write_report([out], str(tmp_path / "page")))
    assert "self, side by side" in said
    assert "one steps=1" in said
    assert "two steps=2" in said
    assert "4 evaluations of 12 pairs in all" in said
    markdown = (tmp_path / "page" / "tables.md").read_text()
    assert re.search(r"\| one steps=1 \| \S+ \[", markdown)


def test_a_training_shows_its_strips_and_its_loss(tmp_path: Path) -> None:
    run = min(path.parent for path in (WRITTEN_BEFORE / "runs").rglob("history.jsonl"))
    said = text_of(write_report([str(run)], str(tmp_path)))
    assert "Fixed pair 1" in said
    assert "Loss" in said
    assert "One training: the same pairs drawn again" in said
    assert not (tmp_path / "tables.md").exists()


def test_an_evaluation_of_an_earlier_version_is_shown_with_what_it_has(tmp_path: Path) -> None:
    said = text_of(write_report([str(WRITTEN_BEFORE / "score")], str(tmp_path)))
    assert "Pairs in their order" in said


def test_published_figures_stand_beside_ours_and_are_marked() -> None:
    document = {
        "protocol": "table1-002",
        "corpus_digest": "d" * 64,
        "samples": 50_000,
        "width": 512,
        "height": 512,
        "resize": "squash",
        "styles": {"keras": 50_000},
        "without_reference": False,
        "scores": {"fid": 7.5, "fid_lower95": 7.4, "fid_upper95": 7.6},
        "reasons": {},
        "feature_network": "inception_2048@6726825d",
        "checkpoint": "/runs/v1/checkpoint",
        "checkpoint_weights": "w",
        "pictures": None,
        "ema": False,
        "seed": 0,
        "sampling": {"guidance_scale": 5.0, "steps": 20},
    }
    other = document | {"scores": {"fid": 8.0}, "sampling": {"guidance_scale": 3.0, "steps": 20}, "resize": "squash"}
    from pipelines.sweep import leaderboard

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaderboard, "read_numbers", lambda uri: pa.table({}))
        (table,) = tables({"a": document, "b": other, "c": document | {"samples": 3_000}})
    assert table.columns == ("GS-3 ↓", "GS-5 ↓")
    published = {row.label: row.cells for row in table.rows if row.published}
    assert published["Proposed, epoch 7"] == ("7.3676", "6.8551")
    ours = {row.label: row.cells for row in table.rows if not row.published}
    assert ours == {
        "runs/v1 guidance_scale=5.0": ("", "7.5 [7.4, 7.6]"),
        "runs/v1 guidance_scale=3.0": ("8", ""),
        "runs/v1 (3,000 pairs)": ("", "7.5 [7.4, 7.6]"),
    }
    assert "own corpus and weights" in table.note


def test_what_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text('{"cells": [], "failed": {"a self seed=0": "no weights"}}')
    with pytest.raises(PipelineError, match=r"no cell is scored yet.*a self seed=0: no weights"):
        write_report([str(tmp_path / "sweep")], str(tmp_path / "page"))
    with pytest.raises(PipelineError, match="neither a training nor a finished evaluation or sweep"):
        write_report([str(tmp_path)], str(tmp_path / "page"))
