"""One picture of a source: before it is read, while it is a candidate of the listing, and after."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeVar

import pyarrow as pa

from dataprep.corpus.schema import LISTING_SCHEMA
from dataprep.faults import Fault
from dataprep.pictures.names import SUFFIXES
from dataprep.storage.store import FileEntry

REFUSED = "refused"  # the reason of the rejects that no build should read
BATCH_ROWS = 10_000
MOST_BYTES = 256 << 20  # of one picture, sketch or mask; what is larger is not read

Value = TypeVar("Value")
Row = dict[str, Any]  # some of the columns of CANDIDATES

# What the kinds of sources give: an item without its key, and what the selection has to know of it. Null is unknown.
CANDIDATES = pa.schema(
    [
        *(field.with_nullable(True) for field in LISTING_SCHEMA if field.name != "key"),
        pa.field("version", pa.string()),  # of the bytes behind the item
        pa.field("refused", pa.bool_()),
        pa.field("width", pa.int64()),
        pa.field("height", pa.int64()),
        pa.field("date", pa.string()),  # ISO, by day at least
        pa.field("pool", pa.string()),
        pa.field("parent", pa.string()),
        pa.field("column", pa.string()),  # the value of the column that `Selection.group_by` names
        pa.field("deleted", pa.bool_()),
        pa.field("banned", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class SourceItem:
    """One picture of a source, not yet read. `detail` is what `read_item` needs besides the address."""

    uri: str
    group: str | None = None
    tags: tuple[str, ...] = ()
    sketch_uri: str | None = None
    kind: Literal["file", "member", "assembled"] = "file"
    detail: str = ""
    rating: str | None = None
    score: float | None = None
    caption: str | None = None
    mask_uri: str | None = None


@dataclass(frozen=True)
class SourceData:
    """The encoded picture, and what its source knows beyond it: line art and mask (encoded), and an assembly."""

    data: bytes
    drawn_sketch: bytes | None = None
    assembly: str | None = None
    mask: bytes | None = None


class RefusedItem(Fault):
    """An item that is not read because its source cannot be trusted with it; the message says why."""

    def __init__(self, message: str) -> None:
        super().__init__(REFUSED, message)


def is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def stem_of(name: str) -> str:
    """The name without its last suffix: `a/b.c.PNG` gives `a/b.c`."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + (base.rpartition(".")[0] or base)


def version_of(*entries: FileEntry | None) -> str:
    """What changes with the bytes of these files."""
    return " ".join("" if entry is None else f"{entry.size}:{entry.version}" for entry in entries)


def file_row(entry: FileEntry, sketch: FileEntry | None = None, mask: FileEntry | None = None) -> Row:
    """The candidate that is one picture file, with its line art and mask."""
    try:
        entry.uri.encode()
    except UnicodeEncodeError:
        return refused_row(entry.uri, "its name is not UTF-8; rename the file", version_of(entry))
    row: Row = {"uri": entry.uri, "kind": "file", "detail": "", "version": version_of(entry)}
    if sketch is None and mask is None:
        return row
    uris = {name: extra.uri if extra else None for name, extra in (("sketch_uri", sketch), ("mask_uri", mask))}
    return row | {"version": version_of(entry, sketch, mask)} | uris


def refused_row(uri: str, why: str, version: str = "") -> Row:
    """The candidate that becomes a reject with the reason "refused"."""
    detail = json.dumps({"refused": why})
    return {"uri": printable(uri), "kind": "member", "detail": detail, "version": version, "refused": True}


def printable(name: str) -> str:
    """The name in UTF-8: bytes that are none (old archives, old disks) are shown as they cannot be."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def tables(rows: Iterable[Row]) -> Iterator[pa.Table]:
    """Candidate rows as tables of BATCH_ROWS (items.CANDIDATES)."""
    return (pa.Table.from_pylist(some, CANDIDATES) for some in batches(rows))


def batches(values: Iterable[Value]) -> Iterator[list[Value]]:
    """Lists of BATCH_ROWS values, the last one shorter."""
    remaining = iter(values)
    while some := list(islice(remaining, BATCH_ROWS)):
        yield some
