"""Recipes of sweeps: what a file says, and what it cannot say."""

import os
from pathlib import Path

import pytest

from pipelines.common.overrides import SettingsError
from pipelines.sweep.recipe import Cell, newest_checkpoint, read_recipe

WHOLE = """
corpus: corpora/a
checkpoints: [runs/v1, starter]
pictures: {Cobra: results/cobra}
protocols: [self, table2-002]
sampling: {guidance_scale: [3, 5], steps: 20}
seeds: [4, 5]
limit: 12
small_sets: true
"""


def recipe_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return str(path)


def test_cells_are_every_choice_and_pictures_are_not_sampled(tmp_path: Path) -> None:
    recipe = read_recipe(recipe_of(tmp_path, WHOLE), pictures=["results/yan", "Other=elsewhere"])
    cells = recipe.cells()
    assert len(cells) == 2 * 2 * 2 * 2 + 3 * 2 * 2
    assert cells[0] == Cell("runs/v1", "self", 4, {"guidance_scale": 3, "steps": 20})
    assert cells[0].label == "runs/v1 self guidance_scale=3 steps=20 seed=4"
    others = {(cell.checkpoint, cell.pictures) for cell in cells if cell.pictures}
    assert others == {("Cobra", "results/cobra"), ("yan", "results/yan"), ("Other", "elsewhere")}
    assert (recipe.limit, recipe.small_sets, recipe.size) == (12, True, "")
    assert len({cell.label for cell in cells}) == len(cells)


def test_one_value_stands_for_a_list_and_there_are_three_seeds_by_default(tmp_path: Path) -> None:
    recipe = read_recipe(recipe_of(tmp_path, "corpus: c\ncheckpoints: starter\nprotocols: self\n"))
    assert [cell.seed for cell in recipe.cells()] == [0, 1, 2]
    assert {cell.checkpoint for cell in recipe.cells()} == {"starter"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("protocols: self\ncheckpoints: a\n", "a sweep needs corpus"),
        ("corpus: c\ncheckpoints: a\n", "a sweep needs protocols"),
        ("corpus: c\nprotocols: self\n", "name some"),
        ("corpus: c\nprotocols: slef\ncheckpoints: a\n", "did you mean self"),
        ("corpus: c\nprotocols: self\ncheckpoint: a\n", "no setting 'checkpoint' of a sweep: did you mean checkpoints"),
        ("corpus: c\nprotocols: user-pairs\ncheckpoints: a\n", "a sweep makes its pairs"),
        ("corpus: c\nprotocols: self\ncheckpoints: a\nsampling: {stps: 3}\n", "did you mean steps"),
        ("corpus: c\nprotocols: self\ncheckpoints: a\nsampling: {steps: [3, many]}\n", "steps"),
        ("corpus: c\nprotocols: self\ncheckpoints: a\nseeds: [1, 1]\n", "each once"),
        ("corpus: c\nprotocols: self\ncheckpoints: a\nseeds: few\n", "seeds"),
        ("corpus: c\nprotocols: self\ncheckpoints: a\nresize: crop\n", "resize"),
        ("corpus: c\nprotocols: self\ncheckpoints: a\nlimit: 0\n", "limit is at least 1"),
        ("corpus: c\nprotocols: self\npictures: results\n", "pictures is a mapping, such as .*, not 'results'"),
        ("- a\n", "must hold a mapping"),
    ],
)
def test_a_recipe_that_says_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_recipe(recipe_of(tmp_path, text))


def test_settings_that_need_one_another_are_checked_together(tmp_path: Path) -> None:
    text = "corpus: c\nprotocols: self\ncheckpoints: a\nsampling: {sampler: ddim, eta: [0, 0.5]}\n"
    assert len(read_recipe(recipe_of(tmp_path, text)).cells()) == 6
    with pytest.raises(SettingsError, match="eta"):
        read_recipe(recipe_of(tmp_path, text.replace("ddim", "[ddim, dpmpp_2m]")))


def test_the_newest_checkpoint_below_a_folder_is_found(tmp_path: Path) -> None:
    for number, name in enumerate(("old/checkpoint", "new/checkpoint", "unfinished/checkpoint")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"")
        os.utime(folder / "model.safetensors", (1000 + number, 1000 + number))
        if "unfinished" not in name:
            (folder / "config.json").write_text("{}")
    newest = newest_checkpoint(str(tmp_path / "runs"))
    assert newest == str(tmp_path / "runs" / "new" / "checkpoint")
    text = f"corpus: c\nprotocols: self\nnewest_of: {tmp_path / 'runs'}\ncheckpoints: [{newest}]\n"
    assert len(read_recipe(recipe_of(tmp_path, text)).cells()) == 3, "one that is named too is scored once"
    with pytest.raises(SettingsError, match="there is no checkpoint below this folder"):
        newest_checkpoint(str(tmp_path / "nothing"))
