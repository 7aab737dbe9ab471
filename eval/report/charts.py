"""Small line charts as inline SVG: no script, no font, both colour schemes (style in templates/report.css)."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil, floor, isfinite, log10

from markupsafe import Markup

Point = tuple[float, float]

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 24, 44
MOST_POINTS = 240


def nice_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round values (steps of 1, 2 or 5 times a power of ten) that lie within [low, high]."""
    span = high - low
    if span <= 0:
        return [low]
    magnitude = 10 ** floor(log10(span / about))
    step = next(s * magnitude for s in (1, 2, 5, 10) if s * magnitude * about >= span * (1 - 1e-9))
    return [round(i * step, 12) for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` points: the mean of each of that many equal runs."""
    if len(points) <= most:
        return list(points)
    edges = [i * len(points) // most for i in range(most + 1)]
    return [_mean_point(points[a:b]) for a, b in pairwise(edges)]


def smooth(points: Sequence[Point], share: float = 0.05) -> list[Point]:
    """Centred running mean over `share` of the points on either side."""
    reach = round(len(points) * share)
    return [(x, _mean_point(points[max(0, i - reach) : i + reach + 1])[1]) for i, (x, _) in enumerate(points)]


def line_chart(points: Sequence[Point], title: str, x_label: str, y_label: str) -> Markup:
    """SVG of y over x: the measured values faint, their running mean strong. Points that are not finite are left out.

    The vertical axis starts at zero, so that a small gain does not look like a large one.
    """
    measured = [point for point in points if isfinite(point[1])]
    if not measured:
        return Markup('<p class="quiet">No values were recorded.</p>')
    shown = thin(measured)
    ys = [y for _, y in shown]
    x_low, x_high, y_low, y_high = measured[0][0], measured[-1][0], min(0.0, *ys), max(0.0, *ys) * 1.05 or 1.0

    def place(point: Point) -> Point:
        x = LEFT + (point[0] - x_low) / ((x_high - x_low) or 1) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (point[1] - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    parts = [Markup('<svg class="chart" viewBox="0 0 {} {}" role="img"><title>{}</title>').format(WIDTH, HEIGHT, title)]
    parts += [_y_tick(place((x_low, tick))[1], tick) for tick in nice_ticks(y_low, y_high)]
    parts += [_x_tick(place((tick, y_low))[0], tick) for tick in nice_ticks(x_low, x_high)]
    parts += [_polyline("measured", map(place, shown)), _polyline("mean", map(place, smooth(shown)))]
    parts += [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "middle", x_label), _text(LEFT - 8, 11, "end", y_label)]
    return Markup("").join([*parts, Markup("</svg>")])


def _mean_point(points: Sequence[Point]) -> Point:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _polyline(name: str, points: Iterable[Point]) -> Markup:
    return Markup('<polyline class="{}" points="{}"/>').format(name, " ".join(f"{x},{y}" for x, y in points))


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _y_tick(y: float, value: float) -> Markup:
    line = Markup('<line x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, WIDTH - RIGHT, y, y)
    return line + _text(LEFT - 8, y + 4, "end", f"{value:g}")


def _x_tick(x: float, value: float) -> Markup:
    return _text(x, HEIGHT - BOTTOM + 18, "middle", f"{value:,.0f}" if value == int(value) else f"{value:g}")
