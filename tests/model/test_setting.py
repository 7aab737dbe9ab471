"""A setting is written once: its field holds default, help, panel and range, and the range is checked by it."""

from dataclasses import dataclass
from math import inf, nan

import pytest

from model.optimizer import OptimizerSettings
from model.setting import Setting, check_choice, check_ranges, documented, setting


@dataclass(frozen=True)
class Dials:
    loud: float = setting(0.5, help="How loud", panel="Sound", least=0, most=1)
    times: int = setting(2, help="How often", panel="Sound", least=1)
    name: str = setting("bell", help="Which sound", panel="Sound", metavar="NAME")
    inner: tuple[float, ...] = ()


def test_a_documented_field_is_a_field_with_its_default() -> None:
    assert Dials() == Dials(0.5, 2, "bell", ())
    assert documented(Dials) == documented(Dials()) == {
        "loud": Setting(help="How loud", panel="Sound", least=0, most=1),
        "times": Setting(help="How often", panel="Sound", least=1),
        "name": Setting(help="Which sound", panel="Sound", metavar="NAME"),
    }  # fmt: skip


@pytest.mark.parametrize("dials", [Dials(0, 1), Dials(1, 10**9), Dials(name="")])
def test_both_ends_belong_to_a_range(dials: Dials) -> None:
    check_ranges(dials)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        (Dials(loud=1.5), r"^a loud=1\.5 is not within 0\.\.1$"),
        (Dials(loud=nan), "loud=nan is not within"),
        (Dials(times=0), "times=0 is not a finite number of at least 1"),
        (Dials(times=inf), "times=inf is not a finite number"),  # type: ignore[arg-type]
    ],
)
def test_what_is_outside_is_refused_by_name(dials: Dials, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_ranges(dials, "a ")


def test_a_choice_that_is_none_names_all_of_them() -> None:
    check_choice("kind", "adam", ("adamw", "adam"))
    with pytest.raises(ValueError, match="kind is adamw or adam, not sgd"):
        check_choice("kind", "sgd", ("adamw", "adam"))


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_rate_may_be_small_and_neither_nothing_nor_no_number(value: float) -> None:
    check_ranges(OptimizerSettings(learning_rate=1e-9))
    with pytest.raises(ValueError, match="learning_rate"):
        OptimizerSettings(learning_rate=value)
