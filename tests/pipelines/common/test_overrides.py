"""Overrides by hand: what is converted, what is refused, and that a wrong key names the nearest valid ones."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from pipelines.common.overrides import (
    SettingsError,
    convert,
    differences,
    flatten,
    nearest,
    override,
    parse_assignments,
    read_overrides,
)


@dataclass(frozen=True)
class Inner:
    min_side: int = 64
    max_aspect: float = 4.0

    def __post_init__(self) -> None:
        if self.min_side < 1:
            raise ValueError("min_side must be at least 1")


@dataclass(frozen=True)
class Between:
    least: int = 10
    most: int = 20

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ValueError(f"least {self.least} is above most {self.most}")


@dataclass(frozen=True)
class Together:
    inner: Between = field(default_factory=Between)


@dataclass(frozen=True)
class Outer:
    rate: float = 0.5
    count: int = 3
    name: str = "plain"
    flag: bool = False
    parent: str | None = None
    limit: int | None = 5
    styles: tuple[str, ...] = ("drawn",)
    size: tuple[int, int] = (1, 2)
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("rate", "1e-5", 1e-5),
        ("rate", "2", 2.0),
        ("count", "12", 12),
        ("count", "1e3", 1000),
        ("count", "9007199254740993", 2**53 + 1),
        ("name", "1e3", "1e3"),
        ("flag", "Yes", True),
        ("flag", "0", False),
        ("parent", "none", None),
        ("parent", "here", "here"),
        ("limit", "", None),
        ("limit", "7", 7),
        ("styles", "drawn, xdog", ("drawn", "xdog")),
        ("styles", "", ()),
        ("size", "3,4", (3, 4)),
    ],
)
def test_text_becomes_the_type_of_its_field(key: str, text: str, value: Any) -> None:
    changed = getattr(override(Outer(), {key: text}), key)
    assert changed == value
    assert type(changed) is type(value)


def test_a_dotted_key_reaches_inside_and_leaves_the_rest() -> None:
    assert override(Outer(), {"inner.min_side": "8"}) == Outer(inner=Inner(min_side=8))


@pytest.mark.parametrize("keys", [("inner.least", "inner.most"), ("inner.most", "inner.least")])
def test_what_fits_only_together_is_set_together_in_any_order(keys: tuple[str, str]) -> None:
    values = {"inner.least": "30", "inner.most": "40"}
    changed = override(Together(), {key: values[key] for key in keys})
    assert changed.inner == Between(30, 40)
    for alone in ({"inner.least": "30"}, {"inner.most": "0"}):
        with pytest.raises(SettingsError, match=rf"{next(iter(alone))} cannot be set so: least .* most"):
            override(Together(), alone)


def test_the_original_is_never_changed() -> None:
    original = Outer()
    override(original, {"count": "9"})
    assert original == Outer()


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("rat", "1", "rate"),
        ("inner.min_sid", "1", "min_side"),
        ("inner", "1", "inner.max_aspect"),
        ("count.x", "1", "no parts"),
        ("count", "1.5", "a whole number"),
        ("count", "many", "a whole number"),
        ("count", "nan", "a whole number"),
        ("rate", "fast", "a number"),
        ("flag", "maybe", "true or false"),
        ("size", "1,2,3", "2 values"),
        ("inner.min_side", "0", "at least 1"),
        ("zzzz", "1", "count, flag, inner, limit"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_what_would(key: str, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as refused:
        override(Outer(), {key: text})
    assert key in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_assignment_may_hold_further_equals_signs() -> None:
    assert parse_assignments(["a=1", " b.c = x=y "]) == {"a": "1", "b.c": "x=y"}


@pytest.mark.parametrize("text", ["count", "=3", ""])
def test_an_assignment_without_a_key_or_a_value_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="key=value"):
        parse_assignments([text])


def test_a_file_gives_nested_and_typed_values(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("rate: 2\nflag: true\nstyles: [xdog]\nsize: [5, 6]\nparent: null\ninner: {max_aspect: 1.5}\n")
    changed = override(Outer(), read_overrides(str(file)))
    assert changed == Outer(rate=2.0, flag=True, styles=("xdog",), size=(5, 6), inner=Inner(max_aspect=1.5))


@pytest.mark.parametrize(
    ("text", "told"),
    [("- 1\n", "mapping"), ("a: [1", "YAML"), ("", "mapping"), ("a:\x00", "YAML")],
)
def test_a_file_that_is_no_mapping_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=told) as refused:
        read_overrides(str(file))
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("key", "value"), [("count", None), ("count", True), ("name", ["a"]), ("rate", [1.0])])
def test_a_value_of_another_kind_in_a_file_is_refused(key: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=key):
        override(Outer(), {key: value})


def test_the_nearest_names_come_first_and_all_where_none_is_near() -> None:
    assert nearest("colorise", ["corpus", "colorize", "train"]).startswith("did you mean colorize")
    assert nearest("xyz", ["train", "corpus"]) == "valid are: corpus, train"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("min_side", "did you mean inner.min_side?"),
        ("inner.min_sid", "did you mean inner.min_side?"),
        ("iner.min_side", "did you mean inner.min_side?"),
        ("max_aspct", "did you mean inner.max_aspect?"),
        ("cont", "did you mean count?"),
        ("zzz", "valid are: count, flag, inner, limit, name, parent, rate, size, styles"),
        ("inner.zzz", "valid are: inner.max_aspect, inner.min_side"),
    ],
)
def test_the_nearest_setting_is_named_whole(key: str, told: str) -> None:
    with pytest.raises(SettingsError, match=f"there is no setting '{key}': {re.escape(told)}$"):
        override(Outer(), {key: 1})


def test_differences_name_every_key_that_changed_came_or_went() -> None:
    before, after = {"a": 1, "b": 2, "gone": 3}, {"a": 1, "b": 5, "new": 4}
    assert differences(before, after) == ["b: 2 -> 5", "gone: 3 -> None", "new: None -> 4"]


def test_nested_mappings_are_flattened_to_dotted_keys() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": {}}) == {"a.b": 1, "a.c.d": [2]}


@pytest.mark.parametrize(
    ("value", "expected", "converted"),
    [
        ("1e3", int, 1000),
        ("NONE", int | None, None),
        ("", tuple[float, float] | None, None),
        ("0.1, 1", tuple[float, float], (0.1, 1.0)),
        (2, float, 2.0),
        ("b", Literal["a", "b"] | None, "b"),
    ],
)
def test_a_value_is_read_as_a_person_writes_it(value: Any, expected: Any, converted: Any) -> None:
    assert convert("key", value, expected) == converted


@pytest.mark.parametrize(("value", "expected"), [(True, int), ("none", int), ("c", Literal["a", "b"]), ([1], float)])
def test_a_refusal_begins_with_the_setting_and_its_value(value: Any, expected: Any) -> None:
    with pytest.raises(SettingsError, match=rf"^key={re.escape(str(value))}"):
        convert("key", value, expected)
