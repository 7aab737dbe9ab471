"""A sheet of what a stage would see."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from dataprep.corpus.snapshot import open_snapshot
from pipelines.training.batch_shares import BatchShares
from pipelines.training.feeder import Feeder, open_split
from pipelines.training.stage import plan_stage
from pipelines.training.step import build_stage
from pipelines.training.watching.sample_sheet import CAPTION, CELL, GAP, sample_sheet, write_sample_sheet
from tests.pipelines.training.train_helpers import quick_recipe
from tests.pipelines.training.untrained import write_corpus, write_parted_checkpoint


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_corpus(tmp_path_factory.mktemp("sheet"))


@pytest.mark.parametrize(("stage", "pictures"), [("v1.noisy", 3), ("v2.style", 9)])
def test_a_row_for_each_sample_and_a_cell_for_each_picture(
    corpus: str, tmp_path: Path, stage: str, pictures: int
) -> None:
    parent = write_parted_checkpoint(tmp_path / "parent", "v2") if stage.startswith("v2") else None
    plan = plan_stage(
        quick_recipe(stage, decay_images=0, prediction_type="eps"), corpus, str(tmp_path / "out"), parent, 1
    )
    write_sample_sheet(plan, 5, tmp_path / "new" / "sheet.png")
    page = sample_sheet(plan, 5)
    assert page.width == GAP + pictures * (CELL + GAP)
    assert page.height == GAP + 5 * (CELL + 2 * CAPTION + GAP)
    assert (tmp_path / "new" / "sheet.png").stat().st_size > 1000
    assert not (tmp_path / "out").exists(), "nothing is trained"
    # The first cell is the first sample's sketch: dark lines on white.
    cell = np.asarray(page)[GAP + 2 * CAPTION : GAP + 2 * CAPTION + CELL, GAP : GAP + CELL]
    assert cell.mean() > 128
    assert cell.min() < 64


def test_what_is_shown_is_what_the_stage_makes_of_its_pictures(corpus: str) -> None:
    recipe = quick_recipe("v2.background", decay_images=0, bleached_share=1.0)
    stage, _ = build_stage(recipe, None, torch.device("cpu"))
    reader = open_split(corpus, "train", recipe, stage.needs, open_snapshot(corpus).number)
    feeder = Feeder(reader, recipe, stage, shares=BatchShares.of(recipe.length, 1), rank=0, images_seen=0)
    with closing(feeder):
        batch = feeder.next().batch
    shown = stage.shows(batch)
    assert shown.keys() == {*batch.pictures, "ground", "ground@window"} - {"reference_extent"}
    assert shown["ground"].min() >= 0.95, "bleached: a flat near-white"
    ground = batch.pictures["mask"] == 0
    assert (shown["sketch"][ground.expand(-1, 3, -1, -1)] == -1).all(), "paper outside the figure"
    assert (shown["color"][ground.expand(-1, 3, -1, -1)] == 1).all()
    assert torch.equal(shown["reference"], batch.pictures["reference"])
