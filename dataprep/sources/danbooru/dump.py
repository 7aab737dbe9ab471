"""Dumps of Danbooru: metadata in JSON lines or Parquet beside files by id, or beside tars of files by id.

    metadata/posts000000000000.json ...   posts, one JSON object a line (`posts`); also .jsonl, .jsonl.gz, .parquet
    metadata/tags*.json                   {"name", "category"}: for posts that have `tag_string` only
    metadata/pools*.json                  {"id", "post_ids", "category", "is_deleted"}: for posts without pools
    original/0123/1123.png                the files, in folders "0" + the last three digits of the id (Danbooru2021)
    512px/0123/1123.jpg                   the same, safe ones only, scaled down
    **/*.tar                              or members `<id>.<suffix>` of tars (Danbooru2023)

A table beside tars may also lie at the top: metadata.parquet, posts.jsonl, ... Where `original` and `512px` are both
there, the originals are taken; name the folder itself (SOURCE/512px) for the other. Pictures come in the order of the
metadata. What has no counterpart is counted: "no file", "no metadata", "duplicate id", "not a picture", "no id".
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
import pyarrow.parquet as pq

from dataprep.errors import DataError
from dataprep.sources.danbooru.files import Holdings, hold
from dataprep.sources.danbooru.posts import COLUMNS, post_facts, post_id, whole_number
from dataprep.sources.facts import json_lines, text
from dataprep.sources.items import BATCH_ROWS, CANDIDATES, Row, batches
from dataprep.sources.webdataset import is_shard
from dataprep.storage import store as storage
from dataprep.storage.store import FileEntry

LAYOUTS = ("original", "512px")
_POSTS = re.compile(r"(posts|metadata)[^/]*\.(json|jsonl|parquet)(\.gz)?")
_TABLE = re.compile(r"[^/]*\.(jsonl|parquet)(\.gz)?")
Post = tuple[str, dict[str, Any]]  # where it stands, and the object


@dataclass(frozen=True)
class Dump:
    """The root of a dump, its metadata tables, and the folders to look for pictures in."""

    root: str
    tables: tuple[FileEntry, ...]
    places: tuple[str, ...]


def find_dump(source: str) -> Dump | None:
    """The dump of Danbooru that the source is, if it is one."""
    source = source.rstrip("/")
    base = posixpath.basename(source)
    if base in LAYOUTS:
        root = posixpath.dirname(source)
        tables = _metadata(root)
        return Dump(root, tuple(tables), (base,)) if tables else None
    folders, files = storage.list_folder(source)
    tables = _metadata(source) if "metadata" in folders else []
    tables = tables or [entry for entry in files if _POSTS.fullmatch(_name(entry))]
    layout = [name for name in LAYOUTS if name in folders][:1]
    if not tables or not (layout or _has_shards(source, folders, files)):
        return None
    others = [name for name in folders if name not in ("metadata", *LAYOUTS)]
    return Dump(source, tuple(tables), (*layout, *others))


def danbooru(dump: Dump, column: str | None, counts: Counter[str]) -> Iterator[pa.Table]:
    """The candidates of a dump, in the order of its metadata."""
    held = hold(dump.root, dump.places, counts)
    categories, pools = _tag_categories(dump.root), _pools(dump.root)
    taken = np.zeros(len(held), bool)
    for some in batches(_posts(dump.tables, column)):
        numbers = [post_id(post, where) for where, post in some]
        rows = [
            post_facts(post, where, column, categories, pools.get(number))
            for (where, post), number in zip(some, numbers, strict=True)
            if number is not None
        ]
        counts["no id"] += len(some) - len(rows)
        ids = np.array([number for number in numbers if number is not None], np.int64)
        yield _matched(ids, rows, held, taken, counts)
    counts["no metadata"] += int((~taken & held.is_picture).sum())
    yield pa.Table.from_pylist(list(held.refused), CANDIDATES)


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


def _posts(tables: Iterable[FileEntry], column: str | None) -> Iterator[Post]:
    for entry in tables:
        yield from _parquet_posts(entry.uri, column) if entry.uri.endswith(".parquet") else json_lines(entry.uri)


def _parquet_posts(uri: str, column: str | None) -> Iterator[Post]:
    filesystem, path = storage.arrow_filesystem(uri)
    with storage.explained(uri), pq.ParquetFile(path, filesystem=filesystem) as file:
        names = [name for name in file.schema_arrow.names if name in COLUMNS or name == column]
        for batch in file.iter_batches(BATCH_ROWS, columns=names):
            yield from ((uri, row) for row in batch.to_pylist())


def _tag_categories(root: str) -> dict[str, int]:
    """Tag -> category of those that are not general, from metadata/tags*.json."""
    found: dict[str, int] = {}
    for where, tag in _lines_beside(root, "tags"):
        name, category = text(tag.get("name"), "name", where), whole_number(tag.get("category"), "category", where)
        if name and category:
            found[name] = category
    return found


def _pools(root: str) -> dict[int, int]:
    """Post -> its pool, from metadata/pools*.json: of several the oldest, a series before a collection of a theme."""
    alive: list[tuple[bool, int, list[int | None]]] = []
    for where, pool in _lines_beside(root, "pools"):
        number, posts = whole_number(pool.get("id"), "id", where), pool.get("post_ids") or []
        if number is None or not isinstance(posts, list):
            raise DataError(f"{where}: a pool needs an id, and post_ids as a list.")
        if str(pool.get("is_deleted", False)).lower() in ("false", "0"):
            ids = [whole_number(post, "post_ids", where) for post in posts]
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


def _lines_beside(root: str, word: str) -> Iterator[Post]:
    for entry in storage.list_folder(storage.join(root, "metadata"))[1]:
        if re.fullmatch(rf"{word}[^/]*\.jsonl?(\.gz)?", _name(entry)):
            yield from json_lines(entry.uri)


def _has_shards(source: str, folders: list[str], files: list[FileEntry]) -> bool:
    """Whether tars or zips lie at the top or anywhere below; `hold` lists all of it anyway, and so does a tree."""
    below = (storage.join(source, name) for name in folders if name != "metadata")
    more = (entry for folder in below for entry in storage.list_files(folder, linked=True))
    return any(is_shard(entry.uri) for found in (files, more) for entry in found)


def _name(entry: FileEntry) -> str:
    return posixpath.basename(entry.uri)
