"""One offline page that shows a corpus: samples of every column, what was dropped and why, and what the rows are like.

Everything is in the one file (pictures as data URIs, a content policy that forbids the page any request), so it can be
mailed, or looked at on a machine that cannot reach the corpus. Charts count all rows, not the samples; above a number
of shards they count a seeded choice of shards, and the page says of how many.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dataprep.corpus.snapshot import Snapshot, open_snapshot
from dataprep.corpus_tools.ink import LOOKED_AT, ColumnLook, look_at
from dataprep.corpus_tools.survey import (
    MOST_SHARDS,
    FailureCount,
    RowPicker,
    failures,
    look_up,
    reject_examples,
    survey,
)
from dataprep.pictures.ancillary import NOTES
from dataprep.storage import store as storage
from dataprep.visible import visible
from pipelines.common.addresses import absolute
from pipelines.corpus_tools.browse_charts import Chart, charts_of
from pipelines.corpus_tools.browse_pictures import (
    GroupStrip,
    RejectExample,
    Sample,
    make_groups,
    make_rejects,
    make_samples,
    role_of,
)

SAMPLES = 48
PAGE_BYTES = 10_000_000  # of the samples' pictures; a third more as text, and some for rejects and groups
EXAMPLES = 6  # of each reason
FIRST = ("color", "sketch_drawn")  # the order of columns; sketches, then masks, then the rest by name follow
TEMPLATES = (Path(__file__).parent / "templates", Path(__file__).parents[2] / "eval" / "report" / "templates")

# What a filter means to somebody who has not read it; reasons that are not here speak for themselves.
MEANINGS = {
    "unreadable": "the bytes are no picture, or a damaged one",
    "not-read": "the file could not be read; the next build tries again",
    "too-small": "the short side has too few pixels",
    "too-large": "too many pixels",
    "too-elongated": "the long side is too long for the short one",
    "refused": "a link, a path out of its archive, a broken or oversized member",
    "rating": "a rating that is not taken",
    "low-score": "a score below the least",
    "high-score": "a score above the largest",
    "watermark": "tagged as watermarked",
    "blank": "hardly any contrast",
    "monochrome": "no colours to learn from",
    "photograph": "not a drawing, says a network",
    "unsafe": "not for everyone to see, says a network",
    "duplicate-file": "the same bytes as a picture that was kept",
    "duplicate-pixels": "the same pixels as a picture that was kept, in another file",
    "near-duplicate": "looks the same as a picture that was kept (perceptual hashes differ in few bits)",
}


@dataclass(frozen=True)
class ColumnFacts:
    """One line of the table of columns. `rows` are those of the files, failed ones included."""

    column: str
    operator: str
    fingerprint: str
    settings: tuple[tuple[str, Any], ...]
    rows: int
    failed: int
    bytes: int
    seen: ColumnLook | None = None  # what some of its cells show; columns of pictures only


@dataclass(frozen=True)
class RejectReason:
    """Why pictures were dropped, how many, and some of them."""

    reason: str
    count: int
    meaning: str
    examples: tuple[RejectExample, ...]


@dataclass(frozen=True)
class Page:
    """What the template shows of one snapshot, as its `document` describes it."""

    uri: str
    document: Mapping[str, Any]
    columns: tuple[str, ...]
    samples: tuple[Sample, ...]
    facts: tuple[ColumnFacts, ...]
    rejects: tuple[RejectReason, ...] = ()
    failures: tuple[FailureCount, ...] = ()
    charts: tuple[Chart, ...] = ()
    groups: tuple[GroupStrip, ...] = ()
    shards_read: int = 0
    shards: int = 0
    unread: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1] or self.uri

    @property
    def looked_at(self) -> int:
        """The sketches of a column that were looked at for their ink, at most."""
        return max((facts.seen.values for facts in self.facts if facts.seen and facts.seen.ink), default=0)

    @property
    def rows(self) -> int:
        return sum(self.document["rows"].values())

    @property
    def rejects_unread(self) -> bool:
        """Whether rejects stand on the page whose pictures nobody asked to read."""
        return any(not example.asked_for for reason in self.rejects for example in reason.examples)

    @property
    def left(self) -> tuple[str, ...]:
        """What lay in the sources and was not taken, or not whole, in sentences; snapshots of old know less of it."""
        listed = self.document.get("listed", {})
        rules, kinds, notes = (listed.get(name, {}) for name in ("not_selected", "not_taken", "notes"))
        sentences = {
            "Not selected": ", ".join(f"{rule} {count:,}" for rule, count in rules.items()),
            "Files that are not taken": ", ".join(f"{kind} {count:,}" for kind, count in kinds.items()),
            "Taken without a part": "; ".join(
                f"{note} {count:,} ({NOTES.get(note, 'not known here')})" for note, count in notes.items()
            ),
            "Left behind by systems and tools, and passed over": f"{listed['litter']:,}"
            if listed.get("litter")
            else "",
        }
        return tuple(f"{what}: {text}." for what, text in sentences.items() if text)

    @property
    def counted(self) -> str:
        """Which rows the charts count, in words."""
        if self.shards_read == self.shards:
            return f"all {self.rows:,} rows"
        return f"the rows of {self.shards_read:,} of {self.shards:,} shards, chosen at random"


def make_page(
    uri: str,
    number: int | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    most_shards: int = MOST_SHARDS,
    *,
    rejects_from: Sequence[str] = (),
) -> Page:
    """Read what the page of snapshot `number` (the newest by default) shows; `most_shards` 0 counts the rows of all.

    rejects_from: folders, on disk or S3, from which pictures of rejects may be read. Without any the page is made of
    the corpus alone: addresses in a corpus from elsewhere are not this machine's to open.
    Raises DataError where there is no such snapshot or its tables cannot be read.
    """
    snapshot = open_snapshot(uri, number)
    columns = ordered(column for column in snapshot.document["operators"] if column != "row")
    examples = reject_examples(snapshot, EXAMPLES)
    messages = [reject["message"] for rejects in examples.values() for reject in rejects]
    view = look_up(snapshot, max(samples, LOOKED_AT), messages, seed)
    seen, picker = survey(snapshot, most_shards, seed), RowPicker(snapshot)
    looks = {one.column: one for one in look_at(picker, view.picked[:LOOKED_AT], snapshot.document["operators"])}
    folders = [absolute(folder) for folder in rejects_from]
    counts = snapshot.document["rejects"]
    reasons = [
        RejectReason(
            reason,
            counts[reason],
            MEANINGS.get(reason, ""),
            tuple(make_rejects(picker, examples[reason], view.found, folders)),
        )
        for reason in sorted(counts, key=counts.__getitem__, reverse=True)
    ]
    return Page(
        uri=uri,
        document=snapshot.document,
        columns=columns,
        samples=tuple(make_samples(picker, view.picked[:samples], columns, PAGE_BYTES)),
        facts=tuple(_column_facts(snapshot, looks)),
        rejects=tuple(reasons),
        failures=tuple(failures(snapshot)),
        charts=tuple(charts_of(seen, view.buckets, snapshot.document["recipe"])),
        groups=tuple(make_groups(picker, seen, seed)),
        shards_read=seen.shards_read,
        shards=seen.shards,
        unread=seen.unread,
    )


def write_page(page: Page, out: str) -> int:
    """Write the page as one HTML file; gives its bytes."""
    data = render_page(page).encode()
    storage.write_whole(out, data)
    return len(data)


def render_page(page: Page) -> str:
    """The whole page as one HTML document. Every text is escaped, and what would turn its direction is made visible."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        webp=_webp_uri, count="{:,}".format, size=shown_bytes, share=shown_share, label=column_label, role=role_of
    )
    return visible(environment.get_template("browse.html.j2").render(page=page))


def ordered(columns: Any) -> tuple[str, ...]:
    """Columns as people look at them: the picture, line art, masks, regions, others."""
    kinds = ("color", "sketch", "mask", "regions")
    return tuple(sorted(columns, key=lambda name: (name not in FIRST, kinds.index(role_of(name)), name)))


def column_label(column: str) -> str:
    """sketch_xdog -> lines: xdog; region_map -> regions."""
    if role_of(column) == "sketch":
        return f"lines: {column.removeprefix('sketch_')}"
    return {"color": "colour", "region_map": "regions", "sketch_mask": "sketch mask"}.get(column, column)


def shown_bytes(count: float) -> str:
    """1234567 -> 1.2 MB (powers of ten)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def shown_share(share: float) -> str:
    """0.00456 -> 0.46 %: two digits, as ink has them on a page."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"


def _column_facts(snapshot: Snapshot, looks: Mapping[str, ColumnLook]) -> list[ColumnFacts]:
    files = snapshot.table("files").group_by("column").aggregate([("rows", "sum"), ("failed", "sum"), ("bytes", "sum")])
    sums = {row["column"]: row for row in files.to_pylist()}
    known: Mapping[str, Mapping[str, Any]] = snapshot.document["operators"]
    return [
        ColumnFacts(
            column=column,
            operator=f"{known[column]['name']} {known[column]['version']}",
            fingerprint=known[column]["fingerprint"],
            settings=tuple(known[column]["settings"].items()),
            rows=sums[column]["rows_sum"],
            failed=sums[column]["failed_sum"],
            bytes=sums[column]["bytes_sum"],
            seen=looks.get(column),
        )
        for column in (*ordered(set(known) - {"row"}), "row")
        if column in sums
    ]


def _webp_uri(picture: bytes) -> Markup:
    return Markup("data:image/webp;base64,{}").format(base64.b64encode(picture).decode())


def page_file(uri: str, number: int) -> str:
    """The name of a page that nobody named: of the corpus and the snapshot, in the working directory."""
    return f"{uri.rstrip('/').rsplit('/', 1)[-1]}-{number}.html"


def summary(page: Page, out: str, size: int) -> str:
    """What was made, in lines for a person."""
    counted = "" if page.shards_read == page.shards else f"; charts count {page.counted}"
    return (
        f"{out}: {len(page.samples)} of {page.rows:,} rows of snapshot {page.document['snapshot']}{counted}\n"
        f"  {shown_bytes(size)}, opens in any browser without a network"
    )
