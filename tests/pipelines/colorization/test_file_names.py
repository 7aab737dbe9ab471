"""Names of results: readable, within what file systems take, and two for two inputs."""

import os

import pytest

from pipelines.colorization.file_names import MOST_NAME_BYTES, natural_order, picture_name

KANJI = "\u6f22"


def test_names_that_fit_are_those_of_the_inputs() -> None:
    assert picture_name(["line", "colours"], "7") == "line--colours--7"
    assert picture_name(["line"]) == "line"
    assert picture_name([KANJI * 60]) == KANJI * 60


@pytest.mark.parametrize(
    "stems",
    [["y" * 250], [KANJI * 83], [KANJI * 83, "r"], ["s", "y" * 250], ["a" * 250, "b" * 250], [KANJI * 83, "y" * 250]],
    ids=lambda stems: "-".join(str(len(stem)) for stem in stems),
)
def test_long_names_are_cut_begin_as_the_inputs_do_and_differ_as_these_do(stems: list[str]) -> None:
    name = picture_name(stems, "2718281828")
    assert len(name.encode()) <= MOST_NAME_BYTES
    assert name.endswith("--2718281828")
    for part, stem in zip(name.split("--"), stems, strict=False):
        assert part.startswith(stem[:15])
    others = [stem[:-1] + "x" for stem in stems]
    assert picture_name(others, "2718281828") != name == picture_name(stems, "2718281828")


def test_what_no_console_shows_is_replaced_and_told_apart() -> None:
    names = [picture_name([stem]) for stem in ("a\nb", "a\tb", os.fsdecode(b"a\xffb"), os.fsdecode(b"a\xfeb"))]
    assert len(set(names)) == 4
    assert all(name.startswith("a_b-") and name.isascii() for name in names)


def test_numbers_are_sorted_by_their_value_wherever_they_stand() -> None:
    names = ["ref_10.png", "10.png", "Ref_2.png", "2.png", "a.png", "1.png", "ref_01.png", "v1.10.png", "v1.9.png"]
    assert sorted(names, key=natural_order) == [
        "1.png", "2.png", "10.png", "a.png", "ref_01.png", "Ref_2.png", "ref_10.png", "v1.9.png", "v1.10.png"
    ]  # fmt: skip
