"""Settings given by hand that no column depends on are refused; those that act, alone or together, are taken."""

import pytest

from pipelines.common.overrides import SettingsError, override
from pipelines.corpus_build.effect import with_effect
from pipelines.recipes.corpora import CORPUS_RECIPES

PLAIN, PUBLISHED = CORPUS_RECIPES["plain"], CORPUS_RECIPES["danbooru-4.8m"]


@pytest.mark.parametrize(
    ("values", "idle"),
    [
        ({"xdog.sigma": "0.8", "styles.xdog": "0", "regions.lines": "drawn"}, "xdog.sigma=0.8"),
        ({"canvas.padding": "white"}, "canvas.padding=white"),
        ({"strokes.gap": "9"}, "strokes.gap=9"),
        ({"regions.patch": "8"}, "regions.patch=8"),
        ({"regions.lines": "", "regions.threshold": "99"}, "regions.threshold=99"),
    ],
    ids=str,
)
def test_a_setting_that_no_column_depends_on_is_refused(values: dict[str, str], idle: str) -> None:
    with pytest.raises(SettingsError, match=f"^{idle} changes nothing: no column of this recipe depends on it"):
        with_effect(PLAIN, values)


@pytest.mark.parametrize(
    "values",
    [
        {"xdog.sigma": "0.8"},
        {"xdog.long_side": "0"},
        {"canvas.size": "256", "canvas.padding": "white"},
        {"strokes.styles": "xdog", "strokes.gap": "9"},
        {"regions.variant": "patches", "regions.patch": "8"},
        {"styles.xdog": "0", "regions.lines": "drawn"},  # neither can be had without the other
        {"regions.threshold": "220", "strokes.gap": "4"},  # as they are
        {"shard_rows": "8", "seed": "1", "limits.seconds_per_picture": "9", "networks.cpus": "2"},
    ],
    ids=str,
)
def test_a_setting_that_acts_is_taken(values: dict[str, str]) -> None:
    assert with_effect(PLAIN, values) == override(PLAIN, values)


def test_what_acts_in_one_recipe_may_have_no_say_in_another() -> None:
    with pytest.raises(SettingsError, match=r"^xdog\.tau"):
        with_effect(PUBLISHED, {"xdog.tau": "0.9"})
