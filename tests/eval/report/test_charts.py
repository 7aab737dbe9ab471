"""The chart's numbers: ticks, thinning, smoothing, and what is drawn where."""

import re

import pytest

from eval.report.charts import line_chart, nice_ticks, smooth, thin


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 12_800, [0, 5000, 10_000]),
        (0, 0.17, [0, 0.05, 0.1, 0.15]),
        (-3, 3, [-3, -2, -1, 0, 1, 2, 3]),
        (16, 16, [16]),
    ],
)
def test_ticks_are_round_and_within_the_range(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_thinning_keeps_the_mean_and_the_number_of_points() -> None:
    points = [(float(x), float(x % 7)) for x in range(1200)]
    thinned = thin(points)
    assert len(thinned) == 240
    assert sum(y for _, y in thinned) / 240 == pytest.approx(sum(y for _, y in points) / 1200)


def test_smoothing_leaves_a_line_and_flattens_noise() -> None:
    assert [y for _, y in smooth([(x, 2.0) for x in range(50)])] == [2.0] * 50
    assert max(y for _, y in smooth([(x, x % 2) for x in range(100)])) < 0.7


def test_the_lowest_loss_is_drawn_lowest_and_the_first_point_leftmost() -> None:
    drawing = line_chart([(0, 1.0), (10, 0.5), (20, 0.0)], "Loss", "images", "loss")
    points = re.search(r'measured" points="([^"]+)', drawing)
    assert points is not None
    (x0, y0), (x1, y1), (x2, y2) = re.findall(r"([\d.]+),([\d.]+)", points[1])
    assert float(x0) < float(x1) < float(x2)
    assert float(y0) < float(y1) < float(y2)


def test_labels_are_escaped() -> None:
    assert "<b>" not in line_chart([(0, 1.0)], "<b>", "<b>", "<b>")


def test_a_curve_without_finite_values_says_so() -> None:
    assert "No values" in line_chart([(0, float("nan"))], "Loss", "images", "loss")
