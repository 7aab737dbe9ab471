"""Dumps of Danbooru: metadata in JSON lines or Parquet beside files by id, or beside tars of files by id.

    metadata/posts000000000000.json ...   posts, one JSON object a line (`posts`); also .jsonl, .jsonl.gz, .parquet
    metadata/tags*.json                   {"name", "category"}: for posts that have `tag_string` only
    metadata/pools*.json                  {"id", "post_ids", "category", "is_deleted"}: for posts without pools
    original/0123/1123.png                the files, in folders "0" + the last three digits of the id (Danbooru2021)
    512px/0123/1123.jpg                   the same, safe ones only, scaled down
    **/*.tar                              or members `<id>.<suffix>` of tars (Danbooru2023)

A table beside tars may also lie at the top: metadata.parquet, posts.jsonl, ... Posts are known by their columns
(`posts.columns_of_posts`), never by the name of the file: other tables have ids too, of other things. Where `original`
and `512px` are both there, the originals are taken; name the folder itself (SOURCE/512px) for the other. Pictures come
in the order of the metadata. What has no counterpart is counted: "no file", "no metadata", "duplicate id", "not a
picture", "no id". A line that cannot be read, or whose id is no number, becomes a reject.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.sources.beside.unread_tables import unread_tables
from dataprep.sources.danbooru.files import Holdings, hold
from dataprep.sources.danbooru.posts import COLUMNS, columns_of_posts, post_facts, post_id
from dataprep.sources.facts import FactReader, Unreadable, text, whole
from dataprep.sources.items import CANDIDATES, Row, batches
from dataprep.sources.notes import ReadAs
from dataprep.sources.tables.row import BadRow
from dataprep.sources.tables.rows import refused_line, table_columns, table_rows
from dataprep.sources.webdataset import is_shard
from dataprep.storage import store as storage
from dataprep.storage.store import FileEntry

LAYOUTS = ("original", "512px")
_POSTS = re.compile(r"(posts|metadata)[^/]*\.(json|jsonl|parquet|csv)(\.gz)?")
_TABLE = re.compile(r"[^/]*\.(jsonl|parquet|csv)(\.gz)?")
Post = tuple[str, dict[str, Any]]  # where it stands, and the object


@dataclass(frozen=True)
class Dump:
    """The root of a dump, its tables of posts, the folders to look for pictures in, and by what it was recognised."""

    root: str
    tables: tuple[FileEntry, ...]
    places: tuple[str, ...]
    why: str
    not_read: tuple[str, ...] = ()


def find_dump(source: str) -> Dump | None:
    """The dump of Danbooru that the source is, if it is one."""
    source = source.rstrip("/")
    base = posixpath.basename(source)
    if base in LAYOUTS:
        root = posixpath.dirname(source)
        return _dump(root, _metadata(root), (base,))
    folders, files = storage.list_folder(source)
    tables = _metadata(source) if "metadata" in folders else []
    tables = tables or [entry for entry in files if _POSTS.fullmatch(_name(entry))]
    layout = [name for name in LAYOUTS if name in folders][:1]
    if not tables or not (layout or _has_shards(source, folders, files)):
        return None
    others = [name for name in folders if name not in ("metadata", *LAYOUTS)]
    return _dump(source, tables, (*layout, *others))


def _dump(root: str, tables: list[FileEntry], places: tuple[str, ...]) -> Dump | None:
    """The dump with those of the tables that hold posts, if any does."""
    found = {entry: columns_of_posts(table_columns(entry.uri)) for entry in tables}
    posts = [entry for entry, columns in found.items() if columns]
    if not posts:
        return None
    first = posts[0]
    why = f"{posixpath.relpath(first.uri, root)} has {', '.join(found[first][:4])}"
    left = unread_tables(root, (entry.uri for entry, columns in found.items() if not columns))
    return Dump(root, tuple(posts), places, why, left)


def danbooru(dump: Dump, reader: FactReader, counts: Counter[str]) -> Iterator[pa.Table]:
    """The candidates of a dump, in the order of its metadata."""
    reader.notes.read_as.append(ReadAs(dump.root, "a dump of Danbooru", dump.why, dump.not_read))
    held = hold(dump.root, dump.places, counts)
    categories, pools = _tag_categories(dump.root, reader), _pools(dump.root, reader)
    taken = np.zeros(len(held), bool)
    refused: list[Row] = []
    for some in batches(_posts(dump.tables, reader, refused)):
        numbers = [post_id(post) for _, post in some]
        rows = [
            post_facts(post, where, reader, categories, pools.get(number))
            for (where, post), number in zip(some, numbers, strict=True)
            if number is not None
        ]
        counts["no id"] += len(some) - len(rows)
        ids = np.array([number for number in numbers if number is not None], np.int64)
        yield _matched(ids, rows, held, taken, counts)
    counts["no metadata"] += int((~taken & held.is_picture).sum())
    yield pa.Table.from_pylist([*held.refused, *refused], CANDIDATES)


def _matched(
    ids: npt.NDArray[np.int64], rows: list[Row], held: Holdings, taken: npt.NDArray[np.bool_], counts: Counter[str]
) -> pa.Table:
    """The rows whose picture is there, with its address; `taken` remembers which pictures have had their post."""
    position = held.find(ids)
    first = np.zeros(len(ids), bool)
    first[np.unique(ids, return_index=True)[1]] = True
    there = position >= 0
    again = there & (taken[position] | ~first)
    usable = there & ~again
    taken[position[usable]] = True
    counts["no file"] += int((~there).sum())
    counts["duplicate id"] += int(again.sum())
    counts["not a picture"] += int((usable & ~held.is_picture[position]).sum())
    usable &= held.is_picture[position]
    found = held.take(position[usable])
    table = pa.Table.from_pylist([rows[row] for row in np.flatnonzero(usable)], CANDIDATES)
    for name in found.column_names:
        table = table.set_column(CANDIDATES.get_field_index(name), CANDIDATES.field(name), found[name])
    return table


def _posts(tables: Iterable[FileEntry], reader: FactReader, refused: list[Row]) -> Iterator[Post]:
    """The posts of all tables whose id can be read; the other lines become rejects."""
    for entry in tables:
        for place, post in table_rows(entry.uri, lambda name: name in COLUMNS or name == reader.column):
            if isinstance(post, BadRow):
                refused.append(refused_line(entry.uri, place, post.why))
                continue
            try:
                post_id(post)
            except Unreadable:
                refused.append(
                    refused_line(entry.uri, place, f"id must be a whole number, not {str(post['id'])[:60]!r}")
                )
                continue
            yield f"{entry.uri}, {place}", post


def _tag_categories(root: str, reader: FactReader) -> dict[str, int]:
    """Tag -> category of those that are not general, from metadata/tags*.json."""
    found: dict[str, int] = {}
    for where, tag in _lines_beside(root, "tags", reader):
        name = reader.read("tag name", text, tag.get("name"), where)
        category = reader.read("tag category", whole, tag.get("category"), where)
        if name and category:
            found[name] = category
    return found


def _pools(root: str, reader: FactReader) -> dict[int, int]:
    """Post -> its pool, from metadata/pools*.json: of several the oldest, a series before a collection of a theme."""
    alive: list[tuple[bool, int, list[int | None]]] = []
    for where, pool in _lines_beside(root, "pools", reader):
        number, posts = reader.read("pool id", whole, pool.get("id"), where), pool.get("post_ids") or []
        if number is None or not isinstance(posts, list):
            reader.notes.unreadable("pool", "a pool needs an id, and post_ids as a list", where)
        elif str(pool.get("is_deleted", False)).lower() in ("false", "0"):
            ids = [reader.read("pool post_ids", whole, post, where) for post in posts]
            alive.append((pool.get("category") == "collection", number, ids))
    found: dict[int, int] = {}
    for _, number, ids in sorted(alive, key=lambda pool: pool[:2]):
        for post in ids:
            if post is not None:
                found.setdefault(post, number)
    return found


def _metadata(root: str) -> list[FileEntry]:
    files = storage.list_folder(storage.join(root, "metadata"))[1]
    return [entry for entry in files if _POSTS.fullmatch(_name(entry))] or [
        entry for entry in files if _TABLE.fullmatch(_name(entry)) and not _name(entry).startswith(("tags", "pools"))
    ]


def _lines_beside(root: str, word: str, reader: FactReader) -> Iterator[Post]:
    for entry in storage.list_folder(storage.join(root, "metadata"))[1]:
        if re.fullmatch(rf"{word}[^/]*\.jsonl?(\.gz)?", _name(entry)):
            for place, line in table_rows(entry.uri):
                where = f"{entry.uri}, {place}"
                if isinstance(line, BadRow):
                    reader.notes.unreadable(f"line of {word}", line, where)
                else:
                    yield where, line


def _has_shards(source: str, folders: list[str], files: list[FileEntry]) -> bool:
    """Whether tars or zips lie at the top or anywhere below; `hold` lists all of it anyway, and so does a tree."""
    below = (storage.join(source, name) for name in folders if name != "metadata")
    more = (entry for folder in below for entry in storage.list_files(folder, linked=True))
    return any(is_shard(entry.uri) for found in (files, more) for entry in found)


def _name(entry: FileEntry) -> str:
    return posixpath.basename(entry.uri)
