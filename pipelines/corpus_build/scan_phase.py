"""The scan phase: what earlier scans know is taken over, the rest is read, and every listed item gets its record.

What the source says about a picture comes from its listing, what its bytes say from the scan. Records of the whole
corpus are held without what only workers need (tags, captions, where the bytes lie): some 300 bytes a picture.
"""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.column_files import parse_table
from dataprep.corpus.digest import metadata_hash
from dataprep.corpus.schema import LISTING_SCHEMA, SCAN_SCHEMA
from dataprep.errors import DataError
from dataprep.plan.filters import FilterSettings, judge
from dataprep.plan.scan import NOT_READ, scan_fingerprint
from dataprep.storage import store as storage
from pipelines.common.progress import Clock
from pipelines.corpus_build.job import BuildJob
from pipelines.corpus_build.listing import Listing
from pipelines.corpus_build.tasks import EVERY_REASON, scan_part, scan_task
from pipelines.execution.live_counts import LiveCounts
from pipelines.execution.task_tables import write_groups
from pipelines.extraction.content_filter import content_mark
from pipelines.recipes.build_recipe import BuildRecipe

PART_MIN, PART_MAX = 32, 1024  # pictures of one scan task; large sources get large parts
NEW = "new"  # why a picture is read: nothing is known of it
READERS = 8
_MEASURED = ("width", "height", "contrast", "chroma", "drawing", "unsafe")
_SEEN = ("id", "sketch_id", *_MEASURED, "lossless", "notes", "pixel_hash", "phash", "assembly")
_OUTCOME = ("reason", "message")

# A record without what only workers need; `metadata` is its dataprep.corpus.digest.metadata_hash, `place` the item's
# place in the listing.
RECORD_SCHEMA = pa.schema(
    [SCAN_SCHEMA.field(name) for name in ("uri", "group", *_SEEN, *_OUTCOME)]
    + [pa.field("metadata", pa.uint64()), pa.field("place", pa.int64())]
)
_ROUND = re.compile(r"-r(\d+)\.parquet$")


@dataclass(frozen=True)
class Known:
    """What earlier scans left: addresses of their `parts`, and the (item, reason) that each item has by now.

    Where two parts speak of one item, the later round counts; that no bytes came counts last.
    """

    folder: str
    parts: tuple[str, ...]
    items: pa.Table

    @classmethod
    def at(cls, out: str, recipe: BuildRecipe) -> "Known":
        folder = storage.join(out, "scan", scan_fingerprint(content_mark(recipe)))
        parts = tuple(sorted((entry.uri for entry in storage.list_files(folder)), key=_round, reverse=True))
        items = _not_read_last(_read(parts, ("item", "reason")))
        return cls(folder, parts, items.take(pc.index_in(pc.unique(items["item"]), items["item"])))

    def next_suffix(self) -> str:
        """What the names of the parts of the next round end with."""
        return f"-r{_round(self.parts[0]) + 1}" if self.parts else ""

    def why_read(self, keys: pa.ChunkedArray, retry: Sequence[str]) -> pa.ChunkedArray:
        """For each item why it has to be read: NEW, the reason that is to be tried again, or null where it has not."""
        where = pc.index_in(keys, self.items["item"])
        reason = self.items["reason"].take(where)
        tried = pa.array((NOT_READ, *retry), pa.string())
        again = pc.is_valid(reason) if EVERY_REASON in retry else pc.is_in(reason, tried)
        return pc.if_else(pc.is_null(where), NEW, pc.if_else(again, reason, pa.scalar(None, pa.string())))


def scan_items(listing: Listing, known: Known, job: BuildJob) -> tuple[pa.Table, dict[str, int]]:
    """The records of all listed items in their order (RECORD_SCHEMA), and why how many of them were read for it."""
    why = known.why_read(listing.keys, job.retry)
    unread = pc.is_valid(why).to_numpy()
    count = int(unread.sum())
    groups = write_groups(storage.join(job.folder, "scan"), _parts(listing, unread)) if count else iter(())
    note = f"reused {len(listing) - count:,} of {len(listing):,}" if count < len(listing) else ""
    parts = []
    with LiveCounts(Clock("scan pictures", count, "pictures", note, job.progress)) as live:
        tasks = [scan_task(*group, job.faults, known.folder, known.next_suffix(), live.folder) for group in groups]
        for result in job.engine(partial(scan_part, recipe=job.recipe), tasks):
            parts.append(result["uri"])
            live.ended(result["pictures"])
    records = records_of(listing, sorted(parts), known, job.recipe.filters)
    if len(records) < len(listing):
        raise DataError(f"{known.folder}: scan records were deleted while the corpus was built. Run the build again.")
    return records, counted(why)


def counted(why: pa.ChunkedArray) -> dict[str, int]:
    """Reason -> how many items have to be read for it."""
    counts = why.drop_null().value_counts().to_pylist()
    return dict(sorted((entry["values"], entry["counts"]) for entry in counts))


def note_counts(records: pa.Table) -> dict[str, int]:
    """Note -> pictures that are taken without what it names (dataprep.pictures.ancillary.NOTES)."""
    taken = records.filter(pc.is_null(records["reason"]))["notes"].combine_chunks()
    counts = pc.value_counts(taken.flatten()).to_pylist()
    return dict(sorted((entry["values"], entry["counts"]) for entry in counts))


def records_of(listing: Listing, fresh: Sequence[str], known: Known, filters: FilterSettings) -> pa.Table:
    """The judged records of the listed items in their order (RECORD_SCHEMA); items that nobody read are left out."""
    columns = ("item", *_SEEN, *_OUTCOME)
    seen = pa.concat_tables([_read(fresh, columns), _not_read_last(_read(known.parts, columns))])
    where = pc.index_in(listing.keys, seen["item"]).combine_chunks()
    parts, done = [RECORD_SCHEMA.empty_table()], 0
    for batch in listing.batches():
        positions = where.slice(done, len(batch))
        is_known, places = positions.is_valid(), pa.array(np.arange(done, done + len(batch)))
        listed = batch.append_column("place", places).filter(is_known)
        parts.append(_record(listed, seen.take(positions.drop_null()), filters))
        done += len(batch)
    return pa.concat_tables(parts)


def _record(listed: pa.Table, found: pa.Table, filters: FilterSettings) -> pa.Table:
    """Listed items and what was seen of them, as records that the filters have judged."""
    known = {"item": listed["key"]} | {name: listed[name] for name in LISTING_SCHEMA.names[1:]}
    known |= {name: found[name] for name in (*_SEEN, *_OUTCOME)}
    if len(listed):
        known |= zip(_OUTCOME, judge(pa.table(known).select(SCAN_SCHEMA.names), filters), strict=True)
    known |= {"metadata": pa.array(_metadata_hashes(listed), pa.uint64()), "place": listed["place"]}
    return pa.table(known).select(RECORD_SCHEMA.names).cast(RECORD_SCHEMA)


def _metadata_hashes(listed: pa.Table) -> npt.NDArray[np.uint64]:
    rows = listed.select(("uri", "group", "tags", "rating", "score", "caption")).rename_columns({"uri": "source"})
    return np.fromiter(map(metadata_hash, rows.to_pylist()), np.uint64, len(listed))


def _parts(listing: Listing, unread: npt.NDArray[np.bool_]) -> Iterator[pa.Table]:
    """The unread items in tables of one task each."""
    size = min(PART_MAX, max(PART_MIN, int(unread.sum()) // 16))
    rest, done = LISTING_SCHEMA.empty_table(), 0
    for batch in listing.batches():
        wanted = batch.filter(pa.array(unread[done : done + len(batch)]))
        done += len(batch)
        rest = pa.concat_tables([rest, wanted])
        while len(rest) >= size:
            yield rest.slice(0, size)
            rest = rest.slice(size)
    if len(rest):
        yield rest


def _not_read_last(records: pa.Table) -> pa.Table:
    not_read = pc.equal(pc.fill_null(records["reason"], ""), NOT_READ)
    return pa.concat_tables([records.filter(pc.invert(not_read)), records.filter(not_read)])


def _read(parts: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """Columns of scan parts, in the order of the parts; a damaged part is no knowledge."""
    empty = pa.schema([SCAN_SCHEMA.field(name) for name in columns]).empty_table()
    with ThreadPoolExecutor(READERS) as pool:
        return pa.concat_tables([empty, *pool.map(partial(_read_part, columns=columns, empty=empty), parts)])


def _read_part(uri: str, columns: Sequence[str], empty: pa.Table) -> pa.Table:
    data = storage.read_bytes(uri)  # a store that fails is no damage: the pictures behind the part are known
    try:
        return parse_table(data, uri, SCAN_SCHEMA, columns)
    except DataError:
        return empty  # its pictures are read again


def _round(uri: str) -> int:
    found = _ROUND.search(uri)
    return int(found.group(1)) if found else 0
