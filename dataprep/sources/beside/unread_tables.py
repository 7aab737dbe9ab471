"""What a folder was read as, and the tables in it that were not: named with their columns, so that nobody wonders."""

import posixpath
import re
from collections.abc import Collection, Iterable

from dataprep.sources.beside.imagefolder import TABLES
from dataprep.sources.beside.side_files import SideFiles
from dataprep.sources.danbooru.posts import columns_of_posts
from dataprep.sources.notes import ReadAs
from dataprep.sources.tables.rows import CSV, FILE_NAME, PARQUET, table_columns
from dataprep.sources.webdataset import is_shard

_LINES = (".jsonl", ".jsonl.gz")
_METADATA = re.compile(r"(^|/)metadata/[^/]*\.json(\.gz)?$|(^|/)(posts|metadata)[^/]*\.json(\.gz)?$")
_MOST_NAMED, _MOST_COLUMNS = 3, 8
# What a table is by its columns; the first that has all of them counts.
_KNOWN = (
    (("image",), "pictures within the table, which are not read; save them as files or shards"),
    (("uid", "url"), "DataComp; what it says of a picture is read from the shards"),
    (("key", "status"), "img2dataset; what it says of a picture is read from the files beside it"),
    (("URL", "TEXT"), "LAION; what it says of a picture is read from the shards"),
    (("path",), "an index; name the file itself as the source"),
    ((FILE_NAME,), "names of pictures that are not here"),
)


def read_as(
    source: str, listed: Iterable[str], free: Iterable[str], used: Collection[str], beside: SideFiles
) -> ReadAs:
    """What a folder tree was read as. `free`: pictures and shards that no table rules; `used`: the files that rule."""
    free, names = list(free), sorted(used)
    shards = sum(map(is_shard, free))
    found = [f"{posixpath.relpath(uri, source)} ({_rules(uri)})" for uri in names[:_MOST_NAMED]]
    found += [f"{len(names) - _MOST_NAMED:,} more of these"] if len(names) > _MOST_NAMED else []
    found += [_pictures(free, beside)] if shards < len(free) else []
    found += ["the members of one shard" if shards == 1 else f"the members of {shards:,} shards"] if shards else []
    drawings = tuple(f"{posixpath.dirname(uri)}/" for uri in names if uri.endswith("/assembled.json"))
    left = [uri for uri in listed if _is_metadata(uri) and uri not in used and not uri.startswith(drawings or ("\0",))]
    left = [uri for uri in left if not beside.is_one(uri)]
    return ReadAs(source, "a folder", "; ".join(found) or "nothing is in it", unread_tables(source, left))


def _pictures(free: Iterable[str], beside: SideFiles) -> str:
    kinds = beside.kinds(uri for uri in free if not is_shard(uri))
    return (
        f"pictures by their names, with what their {' and '.join(kinds)} files say"
        if kinds
        else "pictures by their names"
    )


def unread_tables(source: str, tables: Iterable[str]) -> tuple[str, ...]:
    """What each of these tables is, by its columns; only the first few are opened."""
    some = sorted(tables)
    named = [f"{posixpath.relpath(uri, source)} {_described(table_columns(uri))}" for uri in some[:_MOST_NAMED]]
    return (*named, *([f"{len(some) - len(named):,} tables more"] if len(some) > len(named) else []))


def _rules(uri: str) -> str:
    name = posixpath.basename(uri)
    return f"Hugging Face imagefolder, by its column {FILE_NAME}" if name in TABLES else "says what is taken"


def _is_metadata(uri: str) -> bool:
    return uri.endswith((*PARQUET, *CSV, *_LINES)) or bool(_METADATA.search(uri))


def _described(columns: list[str]) -> str:
    if not columns:
        return "(not a table)"
    known = next((what for names, what in _KNOWN if {*names} <= {*columns}), "")
    if columns_of_posts(columns):
        known = "posts of Danbooru; no pictures are named by their ids"
    shown = ", ".join(columns[:_MOST_COLUMNS]) + (", ..." if len(columns) > _MOST_COLUMNS else "")
    return f"({known or f'no column path or {FILE_NAME}'}; it has {shown})"
