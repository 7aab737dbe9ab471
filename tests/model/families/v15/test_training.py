"""What a stage of v1.5 trains, and what it shows its network of figure and ground."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from model.batch import Batch
from model.families.v1.family import FAMILY as V1_FAMILY
from model.families.v1.training import V1Stage
from model.families.v15.characters import reference_background, shows_character
from model.families.v15.family import FAMILY
from model.families.v15.settings import V15Settings
from model.families.v15.training import V15Stage
from model.stage import WHOLE
from pipelines.recipes.stages import stage_recipe
from pipelines.training.draws import draw
from pipelines.training.step import build_stage

CPU, COUNT, SIDE = torch.device("cpu"), 8, 32


def stage_of(name: str, **changes: Any) -> V15Stage:
    """A tiny stage over a v1 with random weights; updates that start at zero are random too."""
    stage = build_stage(stage_recipe(name).changed(width=SIDE, height=SIDE, **changes), None, CPU)[0]
    assert isinstance(stage, V15Stage)
    torch.manual_seed(4)
    for parameter in stage.model.parameters():
        if not bool(parameter.any()):
            torch.nn.init.normal_(parameter, std=0.05)
    return stage


def batch_of(stage: V15Stage, **pictures: torch.Tensor) -> Batch:
    generator = torch.Generator().manual_seed(5)
    color = torch.rand(COUNT, 3, SIDE, SIDE, generator=generator) * 2 - 1
    mask = torch.rand(COUNT, 1, SIDE, SIDE, generator=generator)
    named = {"sketch": color.sign(), "color": color, "reference": color, "mask": mask, "reference_mask": mask}
    return Batch(named | pictures, draw(1, range(COUNT), stage.draws(SIDE, SIDE)), [()] * COUNT)


@pytest.mark.parametrize("name", list(FAMILY.stages))
def test_a_step_changes_what_was_added_and_nothing_of_the_v1_below(name: str) -> None:
    stage = stage_of(name, reference_drop=0.0)
    added = {id(parameter) for part in stage.model.added() for parameter in part.parameters()}
    before = {key: parameter.detach().clone() for key, parameter in stage.model.named_parameters()}
    trained = [parameter for parameter in stage.model.parameters() if parameter.requires_grad]
    assert {id(parameter) for parameter in trained} == added
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    stage.objective(WHOLE, {WHOLE: stage.model}, stage.prepare(batch_of(stage))).backward()
    optimizer.step()
    for key, parameter in stage.model.named_parameters():
        assert torch.equal(parameter, before[key]) == (id(parameter) not in added), key
    assert not any(parameter.grad is not None for parameter in stage.model.parameters() if id(parameter) not in added)


def test_thresholds_are_drawn_for_each_mask_of_each_sample_between_the_recipes_ends() -> None:
    stage = stage_of("v15.split")
    draws = draw(1, range(400), stage.draws(SIDE, SIDE))
    batch = batch_of(stage)
    found = stage.prepare(batch).thresholds
    torch.testing.assert_close(found, (0.05 + 0.9 * batch.draws["thresholds"]).float())
    assert 0.45 < float(draws["thresholds"].mean()) < 0.55
    assert abs(float(torch.corrcoef(draws["thresholds"].T)[0, 1])) < 0.1, "independent"


def test_draws_of_v1_do_not_move() -> None:
    stage = stage_of("v15.split")
    *earlier, last = stage.draws(SIDE, SIDE)
    assert earlier == list(V1Stage.draws(stage, SIDE, SIDE))
    assert last.name == "thresholds"


def test_a_sample_whose_reference_is_dropped_is_shown_neither_part() -> None:
    stage = stage_of("v15.split")
    batch = batch_of(stage)
    prepared = stage.prepare(batch)
    kept = batch.draws["chances"][:, 0] >= 0.5
    assert torch.equal(prepared.shown, kept)
    assert 0 < int(kept.sum()) < COUNT
    assert stage.prepare(batch, training=False).shown.all()


def test_the_background_tokens_are_of_the_reference_with_its_figure_in_white() -> None:
    stage = stage_of("v15.split")
    batch = batch_of(stage)
    prepared = stage.prepare(batch)
    pictures = batch.pictures
    white = torch.where(
        pictures["reference_mask"] < prepared.thresholds[:, 1, None, None, None], pictures["reference"], 1
    )
    torch.testing.assert_close(prepared.background, stage.image_encoder.encode(white, "local"))
    # Without a character the reference is background as a whole.
    empty = stage.prepare(batch_of(stage, reference_mask=torch.zeros(COUNT, 1, SIDE, SIDE)))
    assert not empty.character.any()
    torch.testing.assert_close(empty.background, stage.image_encoder.encode(pictures["reference"], "local"))
    # With nothing but a figure its background is blank paper.
    full = stage.prepare(batch_of(stage, reference_mask=torch.ones(COUNT, 1, SIDE, SIDE)))
    blank = stage.image_encoder.encode(torch.ones_like(pictures["reference"]), "local")
    torch.testing.assert_close(full.background, blank)


def test_whether_there_is_a_character_is_said_by_tags_and_without_them_by_the_mask() -> None:
    masks = torch.zeros(5, 1, 10, 10)
    masks[1:4, :, :2, :2] = 1  # a twenty-fifth
    tags = [("1girl", "sky"), ("sky",), (), ("assembled", "hair-color:red"), ()]
    settings = V15Settings(character_share=0.04)
    assert shows_character(tags, masks, settings).tolist() == [True, False, True, True, False]
    assert not shows_character([()] * 5, masks, replace(settings, character_share=0.05)).any()


def test_a_mask_that_is_empty_or_full_is_all_background_or_none() -> None:
    pictures, thresholds = torch.rand(2, 3, 4, 4), torch.tensor([0.05, 0.95])
    assert torch.equal(reference_background(pictures, torch.zeros(2, 1, 4, 4), thresholds), pictures)
    assert reference_background(pictures, torch.ones(2, 1, 4, 4), thresholds).eq(1).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"least_threshold": 0.9, "most_threshold": 0.1}, "least_threshold=0.9 is above most_threshold=0.1"),
        ({"lora": "huge"}, "lora=huge: valid are"),
        ({"reference_tokens": "cls"}, "reference_tokens=local"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stage_recipe("v15.split").changed(**changes)


def test_the_recipes_name_what_each_configuration_of_the_ablation_has() -> None:
    found = {name: stage_recipe(name, "base").method for name in ("v15.attention", "v15.lora", "v15.split")}
    sizes = {name: method.network(FAMILY.sizes["base"]) for name, method in found.items()}
    assert [(c.lora, c.recovery) for c in sizes.values()] == [
        ("off", "off"), ("released-v15", "off"), ("released-v15", "released"),
    ]  # fmt: skip


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_operations_are_counted_at_every_size_and_are_more_than_v1s(size: str) -> None:
    ours, v1 = FAMILY.operations(FAMILY.sizes[size], 64), V1_FAMILY.operations(V1_FAMILY.sizes[size], 64)
    assert ours.trained > v1.trained
    assert ours.frozen > v1.frozen
