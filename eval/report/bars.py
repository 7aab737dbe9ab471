"""Bar charts as inline SVG: no script, no font, both colour schemes (style in templates/report.css)."""

from collections.abc import Sequence
from math import floor
from typing import NamedTuple

from markupsafe import Markup

from eval.report.charts import nice_ticks

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 10, 14, 44
LINE, NAMES, COUNTS = 22, 190, 96  # of the chart with bars that lie: height of a bar, room for labels and for counts
MOST_LETTERS = 27


class Bar(NamedTuple):
    """`note` follows the count; a `marked` bar is drawn in outline, for what wants attention."""

    label: str
    value: float
    note: str = ""
    marked: bool = False


def bar_chart(bars: Sequence[Bar], title: str, most: float = 0.0) -> Markup:
    """Bars that lie, one for each name, in the order given; the longest stands for `most`, or for the largest value."""
    if not bars:
        return nothing()
    most = most or max(bar.value for bar in bars) or 1
    parts = [_open(title, len(bars) * LINE + 4)]
    for number, bar in enumerate(bars):
        length = round(bar.value / most * (WIDTH - NAMES - COUNTS - 8), 1)
        length = max(length, 1.0) if bar.value else 0.0
        y, text = number * LINE + 2, f"{bar.value:,.0f}{f' {bar.note}' if bar.note else ''}"
        name = bar.label if len(bar.label) <= MOST_LETTERS else bar.label[: MOST_LETTERS - 1] + "…"
        parts += [
            Markup('<g class="{}"><title>{}: {}</title>').format(
                "bar marked" if bar.marked else "bar", bar.label, text
            ),
            _text(NAMES - 8, y + 15, "end", name, "name"),
            _rectangle(NAMES, y + 3, length, LINE - 7),
            _text(NAMES + length + 6, y + 15, "start", text),
            Markup("</g>"),
        ]
    return Markup("").join([*parts, Markup("</svg>")])


def histogram(bars: Sequence[Bar], title: str, x_label: str, most_labels: int = 9) -> Markup:
    """Bars that stand side by side; `label` is what stands below a bar ("" for none), `note` what it covers."""
    if not bars:
        return nothing()
    most = max(bar.value for bar in bars) or 1
    step = (WIDTH - LEFT - RIGHT) / len(bars)
    labelled = [number for number, bar in enumerate(bars) if bar.label]
    every = max(1, -(-len(labelled) // most_labels))
    parts = [_open(title, HEIGHT)]
    for tick in nice_ticks(0, most, 4):
        y = round(HEIGHT - BOTTOM - tick / most * (HEIGHT - TOP - BOTTOM), 1)
        parts.append(Markup('<line x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, WIDTH - RIGHT, y, y))
        parts += [_text(LEFT - 8, y + 4, "end", f"{tick:,.0f}")] if tick == floor(tick) else []
    for number, bar in enumerate(bars):
        x, tall = LEFT + number * step, bar.value / most * (HEIGHT - TOP - BOTTOM)
        parts += [
            _bar(bar, f"{bar.note or bar.label}: {bar.value:,.0f}"),
            _rectangle(round(x + 1, 1), round(HEIGHT - BOTTOM - tall, 1), round(max(step - 2, 0.5), 1), round(tall, 1)),
            Markup("</g>"),
        ]
    parts += [
        _text(round(LEFT + (number + 0.5) * step, 1), HEIGHT - BOTTOM + 18, "middle", bars[number].label)
        for number in labelled[::every]
    ]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "middle", x_label))
    return Markup("").join([*parts, Markup("</svg>")])


def nothing() -> Markup:
    """In place of a chart."""
    return Markup('<p class="quiet">Nothing to count.</p>')


def _open(title: str, height: float) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, title)


def _bar(bar: Bar, title: str) -> Markup:
    return Markup('<g class="{}"><title>{}</title>').format("bar marked" if bar.marked else "bar", title)


def _rectangle(x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" rx="2"/>').format(x, y, width, height)


def _text(x: float, y: float, anchor: str, text: str, name: str = "") -> Markup:
    kind = Markup(' class="{}"').format(name) if name else ""
    return Markup('<text x="{}" y="{}" text-anchor="{}"{}>{}</text>').format(x, y, anchor, kind, text)
