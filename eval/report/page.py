"""One offline page that shows a result: pictures first, then training, scores, how it was made, and credits.

Everything is in the one file: pictures as data URIs, style and script inline, a content policy that forbids the page
any request. Made for people who colour pictures as much as for those who train models.
"""

import base64
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eval.report.charts import line_chart
from eval.report.tables import ReportTable

Pairs = tuple[tuple[str, str], ...]
"""Label and value, in the order shown."""

MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}


@dataclass(frozen=True)
class ReportPicture:
    """One colorization. Pictures are encoded files (PNG, JPEG, WebP); `command` makes this result again.

    truth_note says what the truth is ("drawn exactly", "the original"), result_note how the result is shown, where it
    is not the network's own picture, which is `network` then; numbers: such as ("PSNR", "21.3 dB").
    """

    title: str
    sketch: bytes
    reference: bytes
    result: bytes
    command: str
    truth: bytes | None = None
    truth_note: str = ""
    caption: str = ""
    numbers: Pairs = ()
    result_note: str = ""
    network: bytes | None = None


@dataclass(frozen=True)
class SheetRow:
    """One pair on a contact sheet. pictures: label and encoded file, in the order shown; numbers: of ReportPicture."""

    title: str
    pictures: tuple[tuple[str, bytes], ...]
    numbers: Pairs = ()


@dataclass(frozen=True)
class ReportSheet:
    """Many pairs at a glance: the best by a metric, the worst, those of one kind, or one pair by several models."""

    title: str
    rows: tuple[SheetRow, ...]
    note: str = ""


@dataclass(frozen=True)
class StripFrame:
    """A fixed pair as the model drew it after `images_seen` training pictures."""

    images_seen: int
    picture: bytes
    stage: str = ""


@dataclass(frozen=True)
class ReportStrip:
    """One fixed pair, with a fixed seed, sampled again and again while the model trained."""

    title: str
    sketch: bytes
    reference: bytes
    frames: tuple[StripFrame, ...]
    note: str = ""


@dataclass(frozen=True)
class ReportScore:
    """One row of the table; a score without a value must give the reason.

    meaning: one sentence an artist understands; interval: bounds at 95 %; feature_network: name and weights hash.
    """

    name: str
    value: float | None
    meaning: str = ""
    unit: str = ""
    reason: str = ""
    samples: int | None = None
    protocol: str = ""
    feature_network: str = ""
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError(f"score {self.name} has neither a value nor a reason")

    @property
    def shown(self) -> str:
        """The value as the table shows it."""
        if self.value is None:
            return f"not scored: {self.reason}"
        return f"{_number(self.value)} {self.unit}".strip()

    @property
    def shown_interval(self) -> str:
        return " to ".join(_number(bound) for bound in self.interval) if self.interval else ""


@dataclass(frozen=True)
class LossCurve:
    """The loss of one stage: (images_seen, loss) in order."""

    stage: str
    points: tuple[tuple[int, float], ...]

    @property
    def chart(self) -> Markup:
        """Inline SVG."""
        return line_chart(self.points, f"Loss of {self.stage}", "images seen", "loss")


@dataclass(frozen=True)
class LineageStep:
    """One link of the chain source -> snapshot -> stages -> evaluation; kind is its chip ("corpus", "stage" …)."""

    kind: str
    name: str
    facts: Pairs = ()
    settings: Pairs = ()


@dataclass(frozen=True)
class Credit:
    """Whose pictures these are; a link is shown only when it is http(s)."""

    work: str
    author: str
    licence: str
    link: str = ""

    @property
    def safe_link(self) -> str:
        return self.link if urlsplit(self.link).scheme in ("http", "https") else ""


@dataclass(frozen=True)
class Report:
    """The page. summary: one or two sentences; commands: (what it opens, command line)."""

    title: str
    summary: str
    pictures: tuple[ReportPicture, ...] = ()
    sheets: tuple[ReportSheet, ...] = ()
    tables: tuple[ReportTable, ...] = ()
    strips: tuple[ReportStrip, ...] = ()
    scores: tuple[ReportScore, ...] = ()
    curves: tuple[LossCurve, ...] = ()
    lineage: tuple[LineageStep, ...] = ()
    commands: Pairs = ()
    credits: tuple[Credit, ...] = ()


def render_report(report: Report) -> str:
    """The whole page as one HTML document. Every text is escaped. Raises ValueError for bytes that are no picture."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(data_uri=_data_uri, count=_count)
    return environment.get_template("report.html.j2").render(report=report)


def _data_uri(picture: bytes) -> str:
    kind = next((kind for magic, kind in MAGIC.items() if picture.startswith(magic)), None)
    if kind is None:
        raise ValueError(f"not a PNG, JPEG, WebP or GIF picture: {picture[:8]!r}")
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _count(number: int) -> str:
    """12800 -> 12,800."""
    return f"{number:,}"


def _number(value: float) -> str:
    """Four digits, as many as these scores carry."""
    return f"{value:.4g}" if isfinite(value) else "∞" if value > 0 else "undefined"
