"""The line that shows where a stage is: share, count, speed and the time that is left, within a terminal's width.

Speed is that of the last HALF_LIFE_S or of the last few units, whichever is longer, so that loading a network before
the first picture, or one page that took a minute, is forgotten instead of spread over all that is left.
"""

import unicodedata

from pipelines.common.progress import Progress

BAR = 24
BLOCKS, ASCII = ("█", "░"), ("#", ".")  # of a bar, where the terminal can show them and where not
LEAST_BAR = 4
LEAST_STAGE = 8
STAGE = 28  # columns of a stage's name where lines stand below each other
HALF_LIFE_S = 20.0  # after which what was measured counts half
UNITS = 5.0  # of work, at least, that count in the speed
SETTLED_S = 3.0  # before which no estimate is shown


class Pace:
    """The speed of one stage, from how much was done when; what a stage began with was not done in it."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.rate: float | None = None
        self._began: tuple[int, float] | None = None
        self._last = (0, 0.0)
        self._done = self._took_s = 0.0

    def update(self, done: int, elapsed_s: float) -> None:
        """Take in that `done` units are done `elapsed_s` seconds after the stage began."""
        if self._began is None:
            self._began = self._last = (done, elapsed_s)
        passed_s = elapsed_s - self._last[1]
        if done <= self._last[0] or passed_s <= 0:
            return
        new = done - self._last[0]
        keep = 0.5 ** (passed_s / max(HALF_LIFE_S, UNITS * passed_s / new))
        self._done, self._took_s = self._done * keep + new, self._took_s * keep + passed_s
        self._last = done, elapsed_s
        if elapsed_s - self._began[1] >= SETTLED_S:
            self.rate = self._done / self._took_s


def progress_line(news: Progress, pace: Pace, width: int | None = None, signs: tuple[str, str] = BLOCKS) -> str:
    """The line; `width`: the columns of a terminal, None for a log, where lines stand below each other; `signs`: of
    the bar, full and empty."""
    share = min(1.0, news.done / news.total) if news.total else 1.0
    count = f"{share:>4.0%}  {news.done:,}/{news.total:,} {news.unit}"
    rate = news.rate or pace.rate
    parts = [speed(rate, news.unit)] if rate else []
    if rate and 0 < news.done < news.total:
        parts.append(f"{duration((news.total - news.done) / (pace.rate or rate))} left")
    if width is None:
        return ", ".join(
            [f"{news.stage:<{STAGE}} {_bar(share, BAR, signs)} {count}", *parts, *filter(None, [news.note])]
        )
    # On a terminal the note gives way first, then the bar, then the end of the stage's name.
    shown = ", ".join([count, *parts])
    stage = clipped(news.stage, max(LEAST_STAGE, width - columns(shown) - 1))
    room = min(BAR, width - columns(f"{stage}  {shown}"))
    bar = f"{_bar(share, room, signs)} " if room >= LEAST_BAR else ""
    return clipped(", ".join([f"{stage} {bar}{shown}", *filter(None, [news.note])]), width)


def speed(rate: float, unit: str) -> str:
    """ "5.0/s", or "4.2 s a picture" of what takes longer than a second."""
    return f"{rate:,.1f}/s" if rate >= 1 else f"{duration(1 / rate, exact=True)} a {unit.removesuffix('s')}"


def duration(seconds: float, exact: bool = False) -> str:
    """ "2 h 05 min", "2 min 30 s", "7 s"; exact: below ten seconds "4.2 s"."""
    if exact and seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, of_hour = divmod(minutes, 60)
    if hours:
        return f"{hours} h {of_hour:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def columns(text: str) -> int:
    """How many columns a terminal takes for the text: two for each wide letter, such as a kanji."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def clipped(text: str, width: int) -> str:
    """The beginning of the text, within `width` columns."""
    while text and columns(text) > width:
        text = text[:-1]
    return text


def _bar(share: float, length: int, signs: tuple[str, str]) -> str:
    full = round(length * share)
    return signs[0] * full + signs[1] * (length - full)
