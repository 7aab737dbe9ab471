"""A stage of several phases: each goes on from the one before it, also after a stop, and after a parent."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint import read_metadata
from pipelines.common.errors import PipelineError
from pipelines.training.stage import TrainReport, read_history
from tests.pipelines.training.train_helpers import BATCH, Bench, make_bench

pytestmark = [pytest.mark.drill, pytest.mark.ray]

# Three phases of 5 : 2 : 1 parts: 40, 16 and 8 images.
WHOLE: dict[str, Any] = {"stage": "v2.backbone", "images": 8 * BATCH, "warmup_images": 0, "decay_images": 0}


@pytest.fixture(scope="module")
def own_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("phases"))


@pytest.fixture(scope="module")
def whole(own_bench: Bench) -> TrainReport:
    """A whole backbone, on one worker."""
    return own_bench.train(own_bench.folder / "whole", workers=1, **WHOLE)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "model.safetensors")


def test_the_phases_follow_one_another_and_each_trains_its_part(whole: TrainReport, own_bench: Bench) -> None:
    out = Path(whole.out)
    assert [folder.name for folder in sorted((out / "phases").iterdir())] == ["1-noisy", "2-refine", "3-split"]
    noisy, refined, split = (weights(folder) for folder in sorted((out / "phases").iterdir()))
    assert noisy.keys() == refined.keys()
    assert any(not torch.equal(noisy[name], refined[name]) for name in noisy)
    updates = {name for name in split if "ground_" in name}
    assert split.keys() - refined.keys() == updates
    assert all(torch.equal(split[name], refined[name]) for name in refined), "the backbone's bytes stay"
    made = weights(out)
    assert all(torch.equal(made[name], tensor) for name, tensor in split.items())
    # The history is theirs, one after the other.
    steps = [record for record in read_history(str(out)) if "loss" in record]
    assert [record["images_seen"] for record in steps] == [BATCH * number for number in range(1, 9)]
    assert [record["phase"] for record in steps] == ["noisy"] * 5 + ["refine"] * 2 + ["split"]
    assert (whole.images_seen, whole.resumed_from, whole.already_complete) == (64, 0, False)
    assert (out / "lineage.json").exists()
    metadata = read_metadata(out / "checkpoint")
    assert (metadata.stage, metadata.images_seen, metadata.parent) == ("v2.backbone", 64, None)
    assert read_metadata(out / "phases" / "2-refine" / "checkpoint").stage == "v2.backbone-refine"
    again = own_bench.train(out, workers=1, **WHOLE)
    assert (again.already_complete, again.images_seen) == (True, 64)


def test_a_stopped_stage_goes_on_in_its_phase_with_the_same_result(
    whole: TrainReport, own_bench: Bench, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole.out, out)
    for name in ("lineage.json", "history.jsonl"):
        (out / name).unlink()
    shutil.rmtree(out / "checkpoint")
    shutil.rmtree(out / "phases" / "3-split")
    second = out / "phases" / "2-refine"
    (second / "lineage.json").unlink()
    shutil.rmtree(second / "states" / f"{16:012d}")
    states = sorted(path.name for path in (second / "states").iterdir())
    report = own_bench.train(out, workers=1, **WHOLE)
    assert report.resumed_from == (40 + int(states[-1]) if states else 40)
    ours, theirs = weights(out), weights(Path(whole.out))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert read_history(str(out)) == read_history(whole.out)


def test_a_refined_parent_skips_what_it_has_been_through(whole: TrainReport, own_bench: Bench, tmp_path: Path) -> None:
    refined = own_bench.train(tmp_path / "v1", workers=1, stage="v1.noisy", images=BATCH)
    parent = own_bench.train(tmp_path / "v1r", 1, refined.checkpoint, stage="v1.refine", images=BATCH, decay_images=0)
    plan = own_bench.plan(tmp_path / "out", 1, parent.checkpoint, **WHOLE)
    assert [(name, recipe.length.images) for name, recipe in plan.phases] == [("split", BATCH)]
    assert plan.phases[0][1].method.reference_drop == 0.5
    with pytest.raises(PipelineError, match=r"nothing is left to train after v1\.refine"):
        own_bench.plan(tmp_path / "none", 1, parent.checkpoint, preset="thesis", **WHOLE)
    # The next stage goes on from the refined one, or from the backbone.
    short: dict[str, Any] = {"images": BATCH, "decay_images": 0}
    for start in (parent.checkpoint, whole.checkpoint):
        own_bench.plan(tmp_path / "next", 1, start, stage="v2.background", **short)
    with pytest.raises(PipelineError, match=r"v2\.style at this size begins with a checkpoint of v2 v2\.background"):
        own_bench.plan(tmp_path / "style", 1, whole.checkpoint, stage="v2.style", **short)


def test_a_phase_that_stopped_goes_on_calmer_and_the_finished_ones_stay(own_bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "out"
    short = WHOLE | {"images": 4 * BATCH, "phase_shares": (2.0, 2.0, 0.0)}
    with pytest.raises(PipelineError, match="not finite"):
        own_bench.train(out, 1, None, **short | {"learning_rate": 1e6})
    assert (out / "phases" / "1-noisy" / "stopped.json").exists()
    with pytest.raises(PipelineError, match="cannot be made longer"):
        own_bench.plan(out, 1, None, **short | {"images": 8 * BATCH, "learning_rate": 1e6})
    with pytest.raises(PipelineError, match="weight_decay"):
        own_bench.plan(out, 1, None, **short | {"weight_decay": 0.1})
    report = own_bench.train(out, 1, None, **short)
    assert report.images_seen == 4 * BATCH
    assert read_metadata(out / "checkpoint").images_seen == 4 * BATCH


def test_a_phase_may_be_trained_alone(own_bench: Bench, tmp_path: Path) -> None:
    plan = own_bench.plan(tmp_path / "out", 1, None, **WHOLE | {"phase": "noisy"})
    ((name, recipe),) = plan.phases
    assert (name, recipe.length.images, recipe.method.reference_drop) == ("noisy", 8 * BATCH, 0.8)
    noisy = str(own_bench.folder / "whole" / "phases" / "1-noisy")
    with pytest.raises(PipelineError, match=r"v2\.background at this size begins with"):
        own_bench.plan(tmp_path / "next", 1, noisy, stage="v2.background", images=BATCH, decay_images=0)
