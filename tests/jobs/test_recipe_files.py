"""Recipes by name, or by a file of what differs from one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import run
from jobs.recipe_files import recipe_by_name
from pipelines.common.overrides import SettingsError
from tests.jobs.command import one_line


@dataclass(frozen=True)
class Recipe:
    side: int = 64
    style: str = "xdog"


KNOWN = {"plain": Recipe(), "large": Recipe(side=512)}


def test_a_recipe_goes_by_its_name() -> None:
    assert recipe_by_name("large", KNOWN) == Recipe(side=512)


def test_a_file_changes_plain_or_the_recipe_that_it_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("style: hed\n")
    assert recipe_by_name(str(file), KNOWN) == Recipe(style="hed")
    file.write_text("base: large\nstyle: hed\n")
    assert recipe_by_name(str(file), KNOWN) == Recipe(side=512, style="hed")


@pytest.mark.parametrize(
    ("text", "message"), [("base: lage\n", "did you mean large"), ("sid: 3\n", "no setting 'sid': did you mean side")]
)
def test_a_file_with_a_wrong_word_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        recipe_by_name(str(tmp_path / "mine.yaml"), KNOWN)


def test_what_is_neither_a_recipe_nor_a_file_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="no recipe 'lrge' and no such file: did you mean large"):
        recipe_by_name("lrge", KNOWN)


# ---- recipes of train, evaluate and colorize -------------------------------------------------------------------------

KEPT = Path(__file__).parents[1] / "assets" / "written_by_0_1" / "runs" / "noisy" / "recipe.json"
TRAIN = """
stage: v1.noisy
model_size: tiny
learning_rate: 1e-4
set: {seed: 4, offset_noise: 0.1}
"""
COLORIZE = """
sketch: [a.png, b.png]
out: made
steps: 7
guidance_scale: 3
keep-lines: false
injection: {fidelity: 0.25}
guidance_window: [0, 0.5]
attention_scale: {all: 0.5, middle: 1}
set:
  eta: 0.5
  sampler: ddim
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "train.yaml").write_text(TRAIN)
    (tmp_path / "colorize.yaml").write_text(COLORIZE)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *call: str) -> dict[str, Any]:
    """The document of a dry run."""
    assert run([*call, "--dry-run"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_training_takes_its_stage_its_options_and_its_settings_from_a_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = printed(capsys, "train", "--recipe", "train.yaml")
    names = ("stage", "model_size", "learning_rate", "seed", "offset_noise")
    assert [recipe[name] for name in names] == ["v1.noisy", "tiny", 1e-4, 4, 0.1]


def test_what_the_call_gives_overrides_the_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["train", "v1.refine", "--recipe", "train.yaml", "--set", "seed=9"]
    recipe = printed(capsys, *call)
    assert (recipe["stage"], recipe["seed"], recipe["learning_rate"]) == ("v1.refine", 9, 1e-4)


def test_the_recipe_of_a_run_and_a_dry_run_are_recipes_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As version 0.1 wrote it, with what the inputs were."""
    recipe = printed(capsys, "train", "--recipe", str(KEPT))
    kept = json.loads(KEPT.read_text())
    assert {key: recipe[key] for key in recipe if key in kept} == {key: kept[key] for key in kept if key in recipe}
    (here / "again.json").write_text(json.dumps(recipe))
    assert printed(capsys, "train", "--recipe", "again.json") == recipe


def test_a_colouring_takes_its_options_from_a_file(
    here: Path, capsys: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    call = ["colorize", "--recipe", "colorize.yaml", "--checkpoint", checkpoint]
    document = printed(capsys, *call, "--steps", "9", "--sketch", "c.png")
    assert [picture["out"] for picture in document["pictures"]] == ["made/c.png"]
    sampling, settings = document["settings"]["sampling"], document["settings"]
    assert settings["keep_lines"] is False
    assert (sampling["steps"], sampling["guidance_scale"], sampling["eta"]) == (9, 3.0, 0.5)
    assert (sampling["sampler"], sampling["injection"]["fidelity"]) == ("ddim", 0.25)
    assert sampling["guidance_window"] == [0.0, 0.5]
    assert sampling["attention_scales"] == [0.5] * 6 + [1.0] + [0.5] * 9
    assert len(printed(capsys, *call)["pictures"]) == 2


def test_a_call_is_written_as_a_recipe_that_gives_it_again(
    here: Path, capsys: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    call = ["colorize", "--recipe", "colorize.yaml", "--checkpoint", checkpoint, "--seed", "3"]
    assert run([*call, "--write-recipe", "mine.yaml"]) == 0
    assert "irodori colorize --recipe mine.yaml" in capsys.readouterr().out
    assert printed(capsys, "colorize", "--recipe", "mine.yaml") == printed(capsys, *call)
    assert run([*call, "--write-recipe", "mine.yaml"]) == 2
    assert "mine.yaml: it is there" in one_line(capsys)
    assert not (here / "made").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("guidance_scal: 3", "did you mean guidance_scale"),
        ("steps: 0", "--steps"),
        ("dry_run: true", "no option 'dry_run'"),
        ("- steps", "must hold a mapping"),
        ("steps: [", "cannot be read as YAML"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_a_wrong_call(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (here / "wrong.yaml").write_text(text)
    assert run(["colorize", "--sketch", "a.png", "--out", "o", "--recipe", "wrong.yaml"]) == 2
    assert said in one_line(capsys)


def test_a_recipe_that_is_not_there_is_a_wrong_call(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--recipe", "absent.yaml"]) == 2
    assert "--recipe absent.yaml: there is no such file" in one_line(capsys)
