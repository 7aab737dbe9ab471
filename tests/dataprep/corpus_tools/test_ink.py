"""What a column's cells show: ink of sketches, values that say nothing, too few to say anything."""

import pytest

from dataprep.corpus_tools.ink import ENOUGH, ColumnLook, is_sketch


@pytest.mark.parametrize(
    ("ink", "constant", "said"),
    [
        ((0.05,) * 10, 0.0, ""),
        ((0.0005,) * 4 + (0.05,) * 6, 0.4, ""),
        ((0.0005,) * 6 + (0.05,) * 4, 0.4, "60 % of 10 values looked at are blank: less than 0.1 % ink"),
        ((0.9,) * 9 + (0.05,), 0.0, "90 % of 10 values looked at are no line art: more than 40 % ink"),
        ((), 0.7, "70 % of 10 values looked at are one value all over"),
        ((), 0.5, ""),
    ],
)
def test_a_column_is_worthless_where_more_than_half_of_it_is(
    ink: tuple[float, ...], constant: float, said: str
) -> None:
    assert ColumnLook("sketch_a", 10, constant, ink).worthless == said


def test_nothing_is_said_of_a_handful_of_values() -> None:
    assert ColumnLook("sketch_a", ENOUGH - 1, 1.0, (0.0,) * (ENOUGH - 1)).worthless == ""
    assert ColumnLook("sketch_a", ENOUGH, 1.0, (0.0,) * ENOUGH).worthless


def test_the_document_has_the_median_and_the_outer_percentiles() -> None:
    known = ColumnLook("sketch_a", 21, 0.0, tuple(number / 100 for number in range(21))).document()
    assert (known["ink_5"], known["ink_50"], known["ink_95"]) == (0.01, 0.1, 0.19)
    assert (known["blank"], known["solid"]) == (round(1 / 21, 4), 0.0)
    assert "ink_50" not in ColumnLook("mask", 21, 0.0).document()


def test_sketches_are_known_by_their_names() -> None:
    assert [is_sketch(name) for name in ("sketch_xdog", "sketch_mask", "mask", "color")] == [True, False, False, False]
