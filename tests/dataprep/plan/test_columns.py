"""Which changes of a recipe give a column another fingerprint, and which columns are treated."""

from dataclasses import replace

import numpy as np
import pytest

from dataprep.errors import DataError
from dataprep.lines.strokes import StrokeSettings, even_strokes
from dataprep.lines.xdog import XDoGSettings, xdog
from dataprep.operators.operator import Operator, fingerprint
from dataprep.operators.row_input import RowInput
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import decode, decode_png, encode_png
from dataprep.plan.columns import operators
from dataprep.plan.corpus_recipe import CorpusRecipe
from tests.corpus_pictures import picture

PLAIN = CorpusRecipe()
DEFAULTS = StrokeSettings()


def marks(recipe: CorpusRecipe) -> dict[str, str]:
    return {operator.column: fingerprint(operator) for operator in operators(recipe)}


def changed(recipe: CorpusRecipe) -> set[str]:
    return {column for column, mark in marks(recipe).items() if mark != marks(PLAIN)[column]}


def test_a_setting_renews_its_column_and_those_made_from_it() -> None:
    assert changed(replace(PLAIN, regions=replace(PLAIN.regions, threshold=200))) == {"region_map"}
    assert changed(replace(PLAIN, xdog=replace(PLAIN.xdog, epsilon=1e-6))) == {"sketch_xdog", "region_map"}
    assert changed(replace(PLAIN, seed=1)) == {"sketch_xdog", "region_map"}


def test_what_does_not_change_a_cell_renews_nothing() -> None:
    assert changed(replace(PLAIN, shard_rows=8, validation_share=0.5)) == set()


def test_a_sigma_that_is_set_is_that_of_every_row_and_no_seed_counts() -> None:
    fixed = replace(PLAIN, xdog=replace(PLAIN.xdog, sigma=0.9))
    assert changed(fixed) == {"sketch_xdog", "region_map"}
    assert marks(replace(fixed, seed=1)) == marks(fixed)
    data = encode_png(picture(4))
    drawn = sketch_of(fixed, RowInput("ab" * 32, data, decode(data)))
    assert drawn is not None
    np.testing.assert_array_equal(decode_png(drawn), xdog(gray_of(decode(data)), XDoGSettings(sigma=0.9)))


def test_the_size_of_filtering_is_that_of_both_styles_and_without_it_columns_are_those_of_version_0_1() -> None:
    both = replace(PLAIN, styles=replace(PLAIN.styles, xdog_common=1.0))
    own = replace(both, xdog=replace(both.xdog, long_side=0))
    known = {operator.column: operator for operator in operators(own)}
    assert [known[f"sketch_{style}"].version for style in ("xdog", "xdog_common")] == [2, 1]
    assert fingerprint(known["sketch_xdog"]) == "1cf55198e2a9"  # as in tests/assets/written_by_0_1
    newer = {operator.column: operator for operator in operators(both)}
    assert [newer[f"sketch_{style}"].version for style in ("xdog", "xdog_common")] == [3, 2]
    rows = np.random.default_rng(0).integers(0, 256, (40, 1500, 3)).astype(np.uint8)
    row = RowInput("ab" * 32, encode_png(rows), decode(encode_png(rows)))
    for column in ("sketch_xdog", "sketch_xdog_common"):
        assert known[column].value(row) != newer[column].value(row)


def test_the_share_of_another_style_renews_nothing_where_every_row_gets_the_sketch_anyway() -> None:
    assert changed(replace(PLAIN, styles=replace(PLAIN.styles, xdog_simplified=0.3))) == set()
    regionless = replace(PLAIN.regions, lines=())
    half = replace(PLAIN, styles=replace(PLAIN.styles, xdog=0.5), regions=regionless)
    more = replace(half, styles=replace(half.styles, xdog_simplified=0.3))
    assert marks(half)["sketch_xdog"] != marks(more)["sketch_xdog"]


def sketch_of(recipe: CorpusRecipe, row: RowInput, column: str = "sketch_xdog") -> bytes | None:
    return next(operator for operator in operators(recipe) if operator.column == column).value(row)


def test_the_named_styles_of_a_recipe_are_treated_and_their_fingerprints_and_dependents_tell() -> None:
    plain, treated = CorpusRecipe(), CorpusRecipe(strokes=StrokeSettings(styles=("xdog",)))
    data = encode_png(picture(4))
    row = RowInput("ab" * 32, data, decode(data))
    plain_sketch, treated_sketch = sketch_of(plain, row), sketch_of(treated, row)
    assert plain_sketch is not None
    assert treated_sketch is not None
    expected = even_strokes(decode_png(plain_sketch), DEFAULTS)
    np.testing.assert_array_equal(decode_png(treated_sketch), expected)
    marks = [{o.column: fingerprint(o) for o in operators(recipe)} for recipe in (plain, treated)]
    assert {column for column in marks[0] if marks[0][column] != marks[1][column]} == {"sketch_xdog", "region_map"}
    assert next(o for o in operators(treated) if o.column == "region_map").inputs[1].after is not None


def test_what_is_made_from_a_treated_sketch_knows_how_it_was_treated() -> None:
    keras = Operator("sketch_keras", "keras", 1, lambda row: row.data)
    simplified = Operator("sketch_simplified", "simplified", 1, lambda row: row.data, inputs=(keras,))
    marks = set()
    for gap in (0.0, 3.0):
        recipe = CorpusRecipe(strokes=StrokeSettings(styles=("keras",), gap=gap))
        made = {operator.column: operator for operator in operators(recipe, [keras, simplified])}
        assert made["sketch_simplified"].inputs == (made["sketch_keras"],)
        marks.add(fingerprint(made["sketch_simplified"]))
    assert len(marks) == 2


def test_a_row_without_a_sketch_of_the_style_still_has_none() -> None:
    recipe = CorpusRecipe(strokes=StrokeSettings(styles=("drawn",)))
    data = encode_png(picture(4))
    assert sketch_of(recipe, RowInput("ab" * 32, data, decode(data)), "sketch_drawn") is None


def test_a_style_that_the_recipe_does_not_make_is_named() -> None:
    with pytest.raises(DataError, match=r"strokes\.styles names keras"):
        operators(CorpusRecipe(strokes=StrokeSettings(styles=("keras",))))
