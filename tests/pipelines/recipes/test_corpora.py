"""The named recipes: that they can be built as written, and that their splits hold the rows that the papers count."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dataprep.lines.region_map import RegionSettings
from dataprep.operators.styles import EXTRACTED, REWORKED, has_style
from dataprep.plan.split import SPLITS, assign_splits
from model.weights.catalogue import CATALOGUE
from pipelines.common.overrides import override
from pipelines.extraction.learned_operators import corpus_operators
from pipelines.recipes.corpora import CORPUS_RECIPES, PUBLISHED_ROWS, validation_share
from pipelines.recipes.stage_recipe import configured
from pipelines.recipes.stages import stage_recipe

DOCS = Path(__file__).parents[3] / "docs" / "recipes.md"
PAPERS = sorted(PUBLISHED_ROWS)


@pytest.mark.parametrize("name", PAPERS)
def test_the_validation_split_holds_what_the_paper_counts_within_a_percent(name: str) -> None:
    training, validation = PUBLISHED_ROWS[name]
    assert validation_share(name) * (training + validation) == pytest.approx(validation)
    assert CORPUS_RECIPES[name].validation_share == validation_share(name)


@pytest.mark.seconds
def test_a_hash_gives_52000_of_six_million_within_a_percent() -> None:
    rows = 6_000_000
    ids = np.random.default_rng(0).integers(0, 256, (rows // 10, 32), np.uint8)  # a tenth: sqrt(10) times the spread
    groups = pa.chunked_array([pa.nulls(len(ids), pa.string())])
    found = int((assign_splits(groups, ids, validation_share("danbooru-6m")) == SPLITS.index("validation")).sum())
    assert abs(10 * found - 52_000) < 0.01 * 52_000 * 10**0.5


@pytest.mark.parametrize("name", sorted(CORPUS_RECIPES))
def test_every_recipe_names_a_line_art_that_its_regions_are_found_in(name: str) -> None:
    recipe = CORPUS_RECIPES[name]
    columns = [operator.column for operator in corpus_operators(recipe)]
    assert ("region_map" in columns) == bool(recipe.regions.lines)
    assert any(column.startswith("sketch_") and column != "sketch_drawn" for column in columns)


@pytest.mark.parametrize("name", sorted(CORPUS_RECIPES))
def test_every_recipe_computes_its_inputs_first(name: str) -> None:
    done: set[str] = set()
    for operator in corpus_operators(CORPUS_RECIPES[name]):
        assert {needed.column for needed in operator.inputs} <= done
        done.add(operator.column)


def test_regions_of_no_line_art_are_no_column() -> None:
    recipe = replace(CORPUS_RECIPES["plain"], regions=RegionSettings(lines=()))
    assert "region_map" not in [operator.column for operator in corpus_operators(recipe)]


@pytest.mark.parametrize("name", ["danbooru-6m", "danbooru-4.8m", "ensemble", "figures"])
def test_three_rows_of_ten_are_simplified_and_all_have_both_extractors(name: str) -> None:
    recipe = CORPUS_RECIPES[name]
    ids = [f"{number:064x}" for number in range(20_000)]
    shares = {
        style: np.mean([has_style(row_id, recipe.seed, style, recipe.styles) for row_id in ids])
        for style in ("keras", "anime2sketch", "simplified", "xdog")
    }
    assert shares["keras"] == shares["anime2sketch"] == 1
    assert shares["simplified"] == pytest.approx(0.3, abs=0.01)
    assert shares["xdog"] == 0


@pytest.mark.parametrize("name", ["danbooru-6m", "danbooru-4.8m", "ensemble"])
@pytest.mark.parametrize("stage", ["v1.noisy", "v1.refine", "v1.cls-0.1"])
def test_a_stage_of_the_published_size_opens_the_sketches_of_the_published_corpora(name: str, stage: str) -> None:
    made = {operator.column for operator in corpus_operators(CORPUS_RECIPES[name])}
    styles = stage_recipe(stage, "base").samples.styles
    assert {f"sketch_{style}" for style in styles} <= made
    assert "simplified" in styles


def test_strokes_are_treated_where_the_source_of_the_recipe_says_so() -> None:
    """Thesis 3.2 does; papers 000, 002 and RASC do not."""
    treated = {name for name, recipe in CORPUS_RECIPES.items() if recipe.strokes.styles}
    assert treated == {"ensemble", "figures"}


def test_all_sketches_of_rasc_are_simplified_xdog_and_so_are_their_regions() -> None:
    recipe = CORPUS_RECIPES["rasc-40k"]
    assert recipe.styles.is_made("xdog")  # to be simplified
    assert recipe.styles.xdog_simplified == 1
    assert recipe.regions.lines == ("xdog_simplified",)
    assert (recipe.xdog.tau, recipe.xdog.kappa) == (0.999997, 1.0001)


def test_the_open_recipe_takes_only_weights_that_a_package_carries() -> None:
    recipe = CORPUS_RECIPES["open"]
    styles = [style for style in (*EXTRACTED, *REWORKED) if recipe.styles.is_made(style)]
    assert styles == ["hed"]
    assert all(CATALOGUE[name].package for name in (*styles, recipe.learned.mask))
    assert (recipe.learned.tagger, recipe.learned.aesthetic, recipe.learned.sketch_mask) == ("", False, "")


def test_what_the_page_of_recipes_tells_to_set_can_be_set() -> None:
    corpora, *parts = re.split(r"\n# (?:Training stages|Stages) of ", DOCS.read_text())
    stages = {"v1": "v1.noisy", "v1.5": "v15.split", "v2": "v2.backbone"}
    told = {re.split(r"[\s,]", part, maxsplit=1)[0]: _told(part) for part in parts}
    assert told.keys() == stages.keys()
    of_corpora = _told(corpora)
    assert len(of_corpora) > 10
    assert sum(map(len, told.values())) > 5
    for name, settings in told.items():
        for key, value in settings:
            assert configured(stage_recipe(stages[name], "base"), {key: value})
    for key, value in of_corpora:
        of_rasc = key.startswith(("canvas", "regions.variant")) or "xdog_simplified" in value
        recipe = CORPUS_RECIPES["rasc-40k" if of_rasc else "ensemble"]
        if key in ("sizes", "styles", "simplified"):
            configured(stage_recipe("v1.noisy", "base"), {key: value})
        elif (key, value) in (("styles.xdog", "0"), ("regions.lines", "drawn")):  # together in one command
            assert corpus_operators(override(CORPUS_RECIPES["plain"], {"styles.xdog": "0", "regions.lines": "drawn"}))
        else:
            assert corpus_operators(override(recipe, {key: value}))


def _told(text: str) -> list[tuple[str, str]]:
    """Settings that a text tells to set, with their values."""
    return re.findall(r"--set ([a-z_.]+)=([^\s`);]*)", text)


def test_the_page_of_recipes_tells_the_shares_that_are_set() -> None:
    rows = [line.split("|") for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    told = {row[1].strip(" `"): row[6].strip() for row in rows if row[1].strip(" `") in CORPUS_RECIPES and len(row) > 7}
    assert set(told) == set(CORPUS_RECIPES)
    for name, share in told.items():
        assert float(share) == pytest.approx(CORPUS_RECIPES[name].validation_share, abs=5e-6)
