"""Settings outside their range are refused in words that name the setting and what it may be."""

from types import SimpleNamespace

import pytest

from model.ranges import EPSILON, MANY, check_choice, check_ranges


def test_both_ends_of_a_range_are_within_it() -> None:
    for value in (0, 0.5, 1):
        check_ranges(SimpleNamespace(share=value), {"share": (0, 1)})


@pytest.mark.parametrize("value", [-0.001, 1.001, float("nan"), float("inf")])
def test_what_lies_outside_is_refused_with_both_ends(value: float) -> None:
    with pytest.raises(ValueError, match=r"^share must be from 0 to 1$"):
        check_ranges(SimpleNamespace(share=value), {"share": (0, 1)})


def test_a_range_without_an_upper_end_names_the_lower_one() -> None:
    check_ranges(SimpleNamespace(images=10**15), {"images": (1, MANY)})
    with pytest.raises(ValueError, match=r"^images must be at least 1$"):
        check_ranges(SimpleNamespace(images=0), {"images": (1, MANY)})


def test_a_range_may_leave_out_nothing_but_zero() -> None:
    check_ranges(SimpleNamespace(rate=1e-9), {"rate": (EPSILON, MANY)})
    with pytest.raises(ValueError, match="rate must be at least"):
        check_ranges(SimpleNamespace(rate=0.0), {"rate": (EPSILON, MANY)})


def test_several_settings_share_a_range_and_the_wrong_one_is_named() -> None:
    settings = SimpleNamespace(width=8, height=0)
    with pytest.raises(ValueError, match=r"^height must"):
        check_ranges(settings, {"width height": (1, MANY)})


def test_a_choice_that_is_none_names_all_of_them() -> None:
    check_choice("kind", "adam", ("adamw", "adam"))
    with pytest.raises(ValueError, match=r"^kind is adamw, adam or sgd, not lion$"):
        check_choice("kind", "lion", ("adamw", "adam", "sgd"))
