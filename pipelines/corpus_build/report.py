"""What a build found, did and left alone: for a person in a few lines, for a program as one document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dataprep.corpus_tools.ink import ColumnLook
from dataprep.plan.row_plan import Plan
from dataprep.samples.buckets import fill
from dataprep.sources.notes import SourceFacts

Counts = Mapping[str, int]
BUCKETS_SHOWN = 4
KINDS_SHOWN = 6
TRAIN = "train"
_SOURCES_SHOWN, _EXAMPLES_SHOWN = 8, 3


@dataclass(frozen=True)
class BuildReport:
    """`rejects`: reason -> rows; `failures`: column -> rows without a value, by reason in `failure_reasons`."""

    out: str
    snapshot: int
    is_new: bool
    digest: str
    rows: Counts  # split -> count
    rejects: Counts
    failures: Counts
    failure_reasons: Mapping[str, Counts]
    pictures: int  # listed and selected
    not_selected: Counts  # rule -> items of the sources that it left out
    not_taken: Counts  # kind -> files of the sources that are none of the pictures that are read
    litter: int  # files that systems and tools left in the sources
    notes: Counts  # note of dataprep.pictures.ancillary.NOTES -> pictures that were taken without what it names
    pictures_read: int
    read_because: Counts  # "new", or the reason for which the picture was tried again
    retried_cells: Mapping[str, Counts]  # column -> reason -> cells that failed for it and were tried again
    nothing_to_retry: tuple[str, ...]  # reasons that were asked for and that nothing had failed for
    shard_columns: int
    computed: Counts  # column -> shards in which it was computed
    cells: Counts  # column -> cells that were computed
    batch_rows: int
    underfilled: Mapping[str, Counts]  # split -> bucket -> rows, of buckets with less than `batch_rows`
    sources: SourceFacts = field(default_factory=SourceFacts)
    seconds: Mapping[str, float] = field(default_factory=dict)  # phase -> time
    looks: Sequence[ColumnLook] = ()  # what some cells of each column of pictures show

    @property
    def shard_columns_reused(self) -> int:
        return self.shard_columns - sum(self.computed.values())

    def document(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        known = {name: value for name, value in asdict(self).items() if name != "looks"}
        looks = {seen.column: seen.document() for seen in self.looks}
        return known | {"shard_columns_reused": self.shard_columns_reused, "looks": looks}

    def summary(self) -> str:
        """The report in a few lines for a person."""
        rows, rejects = sum(self.rows.values()), sum(self.rejects.values())
        head = f"{self.out}: snapshot {self.snapshot}" if self.is_new else f"{self.out}: nothing new, no new snapshot"
        held = "" if self.is_new else f" (still snapshot {self.snapshot})"
        lines = [
            f"{head}{held}, {rows:,} rows{listed(self.rows)}, {rejects:,} rejects{listed(self.rejects)}",
            f"  read {self.pictures_read:,} new of {self.pictures:,} pictures; "
            f"reused {self.shard_columns_reused:,} of {self.shard_columns:,} shard columns",
            f"  digest {self.digest}",
        ]
        lines += [*source_lines(self.sources), *self._selection_lines(), *self._failure_lines()]
        return "\n".join([*lines, *self._look_lines(), *self._bucket_lines()])

    def _selection_lines(self) -> list[str]:
        left_out = sum(self.not_selected.values())
        lines = [f"  not selected: {left_out:,} pictures{listed(self.not_selected)}"] if left_out else []
        if self.notes:
            lines.append(f"  taken without what cannot be read or drawn{listed(self.notes)}")
        return lines + left_lines(self.not_taken, self.litter)

    def _failure_lines(self) -> list[str]:
        lines = []
        again = {reason: count for reason, count in self.read_because.items() if reason != "new"}
        if again:
            lines.append(f"  pictures read again{listed(again)}")
        if self.retried_cells:
            lines.append(f"  failed cells tried again: {by_reason(self.retried_cells)}")
        if self.nothing_to_retry:
            lines.append(f"  nothing to try again for {', '.join(self.nothing_to_retry)}")
        if self.failures:
            lines.append(
                f"  without a value because the operator failed: {by_reason(self.failure_reasons)}; "
                "see column 'error', or try again with --retry-rejects REASON"
            )
        return lines

    def _look_lines(self) -> list[str]:
        """The columns that a training would learn nothing from."""
        return [f"  warning: {seen.column}: {seen.worthless}" for seen in self.looks if seen.worthless]

    def _bucket_lines(self) -> list[str]:
        """The buckets of a corpus to train on in buckets that cannot fill one batch: training repeats their rows.

        One that is too small for a batch of each of them is trained on at one size.
        """
        lines = []
        for split, buckets in self.underfilled.items():
            if split != TRAIN or self.rows[split] < self.batch_rows * (len(buckets) + 1):
                continue
            shown = [f"{bucket} {rows:,}" for bucket, rows in list(buckets.items())[:BUCKETS_SHOWN]]
            more = len(buckets) - len(shown)
            shown_reasons = ", ".join([*shown, *([f"and {more} more"] if more else [])])
            lines.append(f"  buckets of {split} with fewer than {self.batch_rows:,} rows: {shown_reasons}")
        return lines


def source_lines(sources: SourceFacts) -> list[str]:
    """What the sources were read as, what of them was not read, and facts that could not be read, for a person."""
    lines = []
    for one in sources.read_as[:_SOURCES_SHOWN]:
        lines.append(f"  read {one.source} as {one.layout}: {one.why}")
        lines += [f"    not read: {what}" for what in one.not_read]
    if len(sources.read_as) > _SOURCES_SHOWN:
        lines.append(f"  and {len(sources.read_as) - _SOURCES_SHOWN:,} sources more (--json names them)")
    if sources.unread_facts:
        count = sum(sources.unread_facts.values())
        shown = listed(sources.unread_facts)
        lines.append(f"  facts that cannot be read: {count:,}{shown}; their pictures are taken")
        lines += [f"    {fact}, as in {example}" for fact, example in list(sources.examples.items())[:_EXAMPLES_SHOWN]]
    return lines


def underfilled(plan: Plan, batch_rows: int) -> dict[str, dict[str, int]]:
    """Split -> bucket -> rows, of the buckets that hold rows, but not one batch of them; the emptiest first."""
    fills = {split: fill(buckets, batch_rows) for split, buckets in plan.bucket_counts().items()}
    found = {split: {one.bucket: one.rows for one in some if one.under_filled} for split, some in fills.items()}
    return {split: buckets for split, buckets in found.items() if buckets}


def left_lines(not_taken: Counts, litter: int) -> list[str]:
    """What lies in the sources and is not taken, in a line each."""
    lines = []
    if not_taken:
        shown = dict(list(not_taken.items())[:KINDS_SHOWN])
        more = f", and {len(not_taken) - len(shown)} more kinds" if len(not_taken) > len(shown) else ""
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in shown.items())
        lines.append(f"  not taken: {sum(not_taken.values()):,} files ({kinds}{more})")
    if litter:
        lines.append(f"  passed over: {litter:,} files that systems and tools leave behind")
    return lines


def listed(counts: Counts) -> str:
    """ " (a 1, b 2)", or nothing."""
    return f" ({', '.join(f'{name} {count:,}' for name, count in counts.items())})" if counts else ""


def by_reason(columns: Mapping[str, Counts]) -> str:
    """ "mask 3 (timeout 2, raised 1), region_map 1 (raised 1)"."""
    return ", ".join(f"{name} {sum(reasons.values()):,}{listed(reasons)}" for name, reasons in columns.items())
