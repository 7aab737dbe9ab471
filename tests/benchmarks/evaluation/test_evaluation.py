"""The evaluation benchmark: made-up pairs go through the engine and are scored as others are."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.evaluation.driver import METRICS, made_up, made_up_plan
from benchmarks.evaluation.features import SIDES, batches
from dataprep.storage.store import write_whole
from eval.protocols.pairing import to_parquet
from pipelines.evaluation.evaluate import measure_parts, score_parts
from pipelines.evaluation.features import read_results
from pipelines.evaluation.tasks import PAIRING


def test_each_side_sees_the_same_pictures_with_the_same_weights(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        Image.fromarray(np.full((40, 50, 3), 60 * number, np.uint8)).save(file)
    with torch.inference_mode():
        (batch,) = batches(files)
        ours, theirs = (SIDES[side]()(batch) for side in ("Irodori", "torch-fidelity"))
    assert ours.shape == theirs.shape == (3, 2048)
    # both scale 0 to 255 about zero, by other numbers
    assert (ours - theirs).abs().max() < 0.05 * theirs.abs().max()


@pytest.mark.ray
def test_made_up_pairs_are_scored_as_any_are(ray_engine: None, tmp_path: Path) -> None:
    plan = made_up_plan(400, str(tmp_path))
    write_whole(str(tmp_path / PAIRING), to_parquet(plan.pairs))
    measure_parts(plan, work=lambda plan, threads, device: partial(made_up, out=str(tmp_path)))
    scores = {score.name: score for score in score_parts(plan)[0]}
    assert scores.keys() == set(METRICS)
    assert {score.pairs for score in scores.values()} == {400}
    rows = read_results(str(tmp_path))
    assert scores["psnr"].value == pytest.approx(np.mean([row["psnr"] for row in rows]))
    assert not any("@" in name for name in rows[0])
    distance = scores[METRICS[-1]].value
    assert distance is not None
    assert 0 < distance < 640, "two sets of one distribution"
