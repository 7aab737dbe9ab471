"""The weights that ship: found by their name from anywhere, small enough, with a card, and made of a run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dataprep.pictures.assembled import (
    Assembly,
    coloring,
    line_art,
    recolored,
    render,
    shipped_templates,
    shown_regions,
)
from dataprep.plan.split import assign_split
from dataprep.samples.polarity import model_sketch
from dataprep.samples.values import from_model_image, model_image
from model.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from model.errors import ModelError
from model.weights.reading import ASSETS
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.recipes.stages import stage_recipe
from pipelines.training.parents import checked_parent
from pipelines.weights.checkpoints import BY_NAME, SHIPPED, absolute_checkpoint, checkpoint_uri, metadata_at
from pipelines.weights.frozen import open_colorist
from pipelines.weights.starter import make_starter
from tests.pipelines.training.untrained import write_checkpoint

MEGABYTE = 1_000_000
SIDE = 192


def test_it_is_found_by_its_name_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "starter").mkdir()
    monkeypatch.chdir(tmp_path)
    assert checkpoint_uri(absolute_checkpoint("starter")) == str(SHIPPED)
    assert absolute_checkpoint("./starter") == str(tmp_path / "starter")


def test_it_and_its_frozen_networks_are_small_and_in_half_precision() -> None:
    files = [*(folder / "model.safetensors" for folder in BY_NAME.values()), *ASSETS.glob("small_*.safetensors")]
    assert len(files) == 4
    sizes = [file.stat().st_size for file in files]
    assert max(sizes) <= 20 * MEGABYTE
    assert sum(sizes) <= 40 * MEGABYTE
    assert {tensor.dtype for file in files for tensor in load_file(file).values()} == {torch.float16}


def test_it_says_what_it_is_and_names_no_machine() -> None:
    metadata = read_metadata(SHIPPED)
    assert (metadata.family, metadata.stage, metadata.size) == ("v1", "v1.palette", "small")
    assert (metadata.width, metadata.height) == (SIDE, SIDE)
    assert metadata.parent is None
    assert "/" not in (SHIPPED / "config.json").read_text()


def test_its_card_names_every_source_with_its_licence() -> None:
    card = (SHIPPED / "CARD.md").read_text()
    sources = json.loads((SHIPPED / "sources.json").read_text())
    allowed = {"CC0 1.0", "CC BY 4.0", "CC BY", "MIT", "public domain"}
    assert {source["licence"] for source in sources} <= allowed
    for source in sources:
        assert source["title"] in card
        assert source["authors"]
        assert source["where"]
        assert source["files"]


def test_the_fast_one_is_its_student_and_colours_in_three_steps_without_guidance() -> None:
    fast = metadata_at(absolute_checkpoint("starter-fast"))
    assert (fast.stage, fast.size, fast.parent) == ("v1.distill", "small", None)
    assert fast.noise_schedule == metadata_at(absolute_checkpoint("starter")).noise_schedule
    own = fast.own_sampling()
    assert (own.sampler, own.steps, own.guidance_scale) == ("ddim", 3, 1.0)
    assert absolute_checkpoint("./starter-fast").endswith("/starter-fast"), "a folder of that name"


@pytest.mark.parametrize("stage", ["v1.noisy", "v1.drop-0.5", "v1.palette"])
def test_any_stage_that_starts_fresh_may_go_on_from_it(stage: str) -> None:
    assert checked_parent(stage_recipe(stage, "small"), absolute_checkpoint("starter")) == str(SHIPPED)


def test_it_is_made_of_the_moving_average_of_a_run(tmp_path: Path) -> None:
    run, out = tmp_path / "run" / "checkpoint", tmp_path / "starter"
    write_checkpoint(run)
    model, metadata = load_checkpoint(run)
    averaged = {name: tensor * 0.5 for name, tensor in model.state_dict().items()}
    save_checkpoint(run, model, metadata, averaged)
    made = make_starter(str(tmp_path / "run"), out, earlier_images=100)
    assert made.images_seen == metadata.images_seen + 100
    loaded, told = load_checkpoint(out)
    assert told == made
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, averaged[name].half().float()), name


def test_a_run_without_an_average_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "run" / "checkpoint")
    with pytest.raises(ModelError, match="no moving average"):
        make_starter(str(tmp_path / "run"), tmp_path / "starter")


@pytest.mark.seconds
@pytest.mark.parametrize("name", BY_NAME)
def test_it_colours_unseen_drawings_in_the_colours_of_an_unrelated_one(name: str) -> None:
    """By its own sampling, eight held-out sketches, each after two references in turn that show all that it has: nearer
    to the answer for its own."""
    share = CORPUS_RECIPES["demo"].validation_share
    templates = [t for t in shipped_templates().values() if assign_split(f"{t.style}-{t.id}", share) == "validation"]
    alike = [
        template for template in templates if shown_regions(coloring(template, 0, 9)) == {"background", "hair", "skin"}
    ]
    drawings = [coloring(template, 0, seed=9) for template in alike[:8]]
    colorist = open_colorist(BY_NAME[name])
    nearer = []
    for shift, other in ((1, 2), (2, 1)):
        results = _colored(colorist, drawings, shift)
        for number, (drawing, result) in enumerate(zip(drawings, results, strict=True)):
            answer, wrong = (recolored(drawing, drawings[(number + n) % len(drawings)]) for n in (shift, other))
            nearer.append(_error(result, answer) < _error(result, wrong))
    assert sum(nearer) >= 15


def _colored(colorist: object, drawings: list[Assembly], shift: int) -> list[np.ndarray]:
    sketches = torch.from_numpy(np.stack([model_sketch(line_art(drawing, SIDE)) for drawing in drawings]))
    shown = [drawings[(n + shift) % len(drawings)] for n in range(len(drawings))]
    references = torch.from_numpy(np.stack([model_image(render(drawing, SIDE)) for drawing in shown]))
    results = colorist(sketches, references, list(range(len(drawings))))  # type: ignore[operator]
    return [from_model_image(result) for result in results.numpy()]


def _error(picture: np.ndarray, drawing: Assembly) -> float:
    return float(np.square(picture.astype(float) - render(drawing, SIDE)).mean())
