"""A family that nothing but its own folder names goes the whole way: train, resume, export, colour, score."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dataprep.pictures.decode import decode
from model.checkpoint import load_checkpoint
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.colorization.colorize import Failed, colorize
from pipelines.colorization.jobs import ColorizeJob
from pipelines.colorization.picture_settings import PictureSettings, sampling_settings
from pipelines.common.errors import PipelineError
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.plan import plan_evaluation
from pipelines.training.stage import read_history
from pipelines.training.state.store import StateStore
from tests.pipelines.training.train_helpers import Bench

BATCH = 8


@pytest.fixture(scope="module")
def drawn(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of `duel.draw`: begun on one worker, gone on with on two."""
    out = tmp_path_factory.mktemp("duel") / "draw"
    small: dict[str, Any] = {"sample_images": 4 * BATCH, "validate_images": 4 * BATCH, "checkpoint_images": 2 * BATCH}
    bench.train(out, workers=2, stage="duel.draw", images=4 * BATCH, **small)
    return out


@pytest.mark.ray
def test_both_networks_are_trained_and_recorded(drawn: Path) -> None:
    steps = [record for record in read_history(str(drawn)) if "loss" in record]
    assert [record["images_seen"] for record in steps] == [BATCH * (step + 1) for step in range(4)]
    assert all(record["loss"] == record["loss_generator"] for record in steps)
    assert all(record["loss_discriminator"] > 0 for record in steps)
    measured = [record for record in read_history(str(drawn)) if "validation_distance" in record]
    assert [record["images_seen"] for record in measured] == [0, 4 * BATCH]
    model, metadata = load_checkpoint(drawn / "checkpoint")
    assert (metadata.family, metadata.stage, metadata.codec) == ("duel", "duel.draw", "")
    assert {name.split(".")[0] for name in model.state_dict()} == {"generator", "discriminator"}
    assert (drawn / "samples" / "0-000000032.png").exists()
    assert json.loads((drawn / "recipe.json").read_text())["discriminator.beta1"] == 0.0


@pytest.mark.ray
def test_a_stage_of_one_part_exports_the_rest_in_its_parents_bytes(drawn: Path, bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "tune"
    bench.train(out, workers=1, parent=str(drawn), stage="duel.tune", images=2 * BATCH, checkpoint_images=BATCH)
    before, after = (load_file(folder / "checkpoint" / "model.safetensors") for folder in (drawn, out))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"generator.encoder.weight", "generator.encoder.bias"}
    trained = set(load_file(Path(StateStore(str(out)).kept()[0].uri) / "trained.safetensors"))
    assert changed <= trained
    assert not [name for name in trained if name.endswith("weight") and name not in changed]


@pytest.mark.ray
def test_its_checkpoint_colours_and_refuses_controls_that_it_has_not(drawn: Path, bench: Bench, tmp_path: Path) -> None:
    sketch, reference = (str(drawn / "samples" / f"0-{name}.png") for name in ("sketch", "reference"))
    job = ColorizeJob(sketch=sketch, references={"reference": reference}, out=str(tmp_path / "x.png"), seed=0)
    (made,) = colorize([job], str(drawn))
    assert not isinstance(made, Failed)
    assert decode((tmp_path / "x.png").read_bytes()).rgb.shape == (64, 64, 3)
    settings = PictureSettings(sampling_settings({"sketch_strength": "0.5"}))
    with pytest.raises(PipelineError, match="a duel network takes no sketch_strength"):
        list(colorize([job], str(drawn), settings))


@pytest.mark.ray
def test_its_checkpoint_is_scored_by_every_protocol(drawn: Path, bench: Bench, tmp_path: Path) -> None:
    for protocol in ("self", "known-answer"):
        out, sampling = str(tmp_path / protocol), SamplingSettings()
        plan = plan_evaluation(str(drawn), bench.corpus, protocol, out, sampling=sampling, limit=2)
        document = evaluate(plan, log_file=tmp_path / "log", tracking_uri=bench.store)
        assert document["scores"]["psnr"] > 0
