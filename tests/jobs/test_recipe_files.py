"""Recipes by name, or by a file of what differs from one."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.recipe_files import recipe_by_name
from pipelines.common.overrides import SettingsError


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
