"""Bar charts: lengths in proportion, names whole in the tooltip, nothing where there is nothing."""

import re

import pytest

from eval.report.bars import Bar, bar_chart, histogram

BARS = [Bar("a", 50), Bar("b" * 60, 25, "few", True), Bar("c", 0)]


def lengths(svg: str, side: str) -> list[float]:
    return [float(value) for value in re.findall(rf'<rect [^>]*\b{side}="([\d.]+)"', svg)]


def test_lying_bars_are_as_long_as_their_counts() -> None:
    assert lengths(bar_chart(BARS, "t"), "width") == pytest.approx([266.0, 133.0, 0.0])
    assert lengths(bar_chart(BARS, "t", most=100), "width") == pytest.approx([133.0, 66.5, 0.0])


def test_standing_bars_are_as_tall_as_their_counts() -> None:
    tall, half, none = lengths(histogram(BARS, "t", "x"), "height")
    assert half == pytest.approx(tall / 2)
    assert none == 0


def test_long_names_are_cut_and_told_whole() -> None:
    svg = bar_chart(BARS, "t")
    assert f"<title>{'b' * 60}: 25 few</title>" in svg
    assert f">{'b' * 26}…<" in svg
    assert svg.count('class="bar marked"') == 1


def test_names_are_escaped() -> None:
    for svg in (bar_chart([Bar("<b>", 1)], "<t>"), histogram([Bar("<b>", 1)], "<t>", "<x>")):
        assert "<b>" not in svg
        assert "<t>" not in svg


def test_nothing_to_count_is_said() -> None:
    assert "Nothing" in bar_chart([], "t")
    assert "Nothing" in histogram([], "t", "x")
    assert "<svg" in histogram([Bar("", 3)], "t", "x")
