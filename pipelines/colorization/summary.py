"""What a call of `irodori colorize` has made, in a few lines for a person: sizes, what was kept, what is missing."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.colorization.colorize import Failed, Made
from pipelines.colorization.jobs import ColorizeJob
from pipelines.colorization.picture_settings import PictureSettings
from pipelines.colorization.roles import REFERENCE

PAIRS_SHOWN = 12
NAMES_SHOWN = 5


def summary(outcomes: Sequence[Made | Failed], settings: PictureSettings) -> list[str]:
    """The lines; nothing is repeated for each picture."""
    made = [outcome for outcome in outcomes if isinstance(outcome, Made)]
    fresh, kept = [one for one in made if not one.already], [one for one in made if one.already]
    missing = [one.job for one in outcomes if isinstance(one, Failed)]
    lines = [f"{_pictures(len(fresh))} made{_sizes(fresh, settings)}"] if fresh else []
    if kept:
        lines.append(f"{_pictures(len(kept))} kept: made of the same before (--again makes them anew)")
    if missing:
        lines.append(f"{_pictures(len(missing))} not made: {_listed([job.out for job in missing])}")
    by_note = {note: [one.job.sketch for one in made if note in one.notes] for one in made for note in one.notes}
    return lines + [f"{_listed(list(dict.fromkeys(sketches)))}: {note}" for note, sketches in by_note.items()]


def pairs_shown(jobs: Sequence[ColorizeJob]) -> str:
    """Which sketch meets which reference: one line each, of the first PAIRS_SHOWN."""
    pairs = list(dict.fromkeys((Path(job.sketch).name, Path(job.references[REFERENCE]).name) for job in jobs))
    width = max(len(sketch) for sketch, _ in pairs[:PAIRS_SHOWN])
    lines = [f"  {sketch:<{width}}  {reference}" for sketch, reference in pairs[:PAIRS_SHOWN]]
    more = len(pairs) - PAIRS_SHOWN
    return "\n".join(["pairs:", *lines, *([f"  and {more:,} more; --dry-run lists all"] if more > 0 else [])])


def _sizes(made: Sequence[Made], settings: PictureSettings) -> str:
    """In which size, and how the other one is had."""
    own = {f"{one.network_width}x{one.network_height}" for one in made}
    sketch = {f"{one.width}x{one.height}" for one in made}
    network = f"the network's picture of {own.pop()}" if len(own) == 1 else "the network's picture"
    if not settings.keep_lines:
        return f": {network} as it is (--keep-lines: the sketch's size, with its lines)"
    size = f"{sketch.pop()}, the sketch's own size" if len(sketch) == 1 else "each in its sketch's own size"
    return f": {size}, its lines over {network}\n  (--no-keep-lines: that picture as it is)"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"
