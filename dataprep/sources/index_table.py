"""An index given as the source itself: a Parquet table, CSV, JSON lines or a JSON array, one picture a row.

Columns: `path` (needed; absolute, an s3:// address, or relative to the index's folder; Hugging Face calls it
`file_name`), `sketch` and `mask` (as path), `version` (what changes with the bytes; else size and time of the file are
looked up), and those of `facts`; any other column can be named by `Selection.group_by`. Rows keep their order; a path
that comes again is counted as "duplicate path", and as "duplicate path, other facts" where its row says something else.
A row that cannot be read, without a path, or with an address that nothing here reads becomes a reject with its place; a
file that is not there becomes one when it is read.
"""

import json
import posixpath
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa

from dataprep.errors import DataError
from dataprep.sources.beside.file_names import path_of, spellings, tidy
from dataprep.sources.facts import COLUMNS as FACTS
from dataprep.sources.facts import FactReader, Unreadable
from dataprep.sources.items import Row, tables, version_of
from dataprep.sources.tables.row import BadRow
from dataprep.sources.tables.rows import FILE_NAME, PATH, refused_line, renamed, table_columns, table_rows
from dataprep.storage import store as storage
from dataprep.storage.store import FileEntry, is_s3

COLUMNS = (PATH, FILE_NAME, "sketch", "mask", *FACTS)
_FOLDERS_KEPT = 4096  # listings of S3 folders that are remembered: an index is mostly in the order of its folders


def table(source: str, reader: FactReader, counts: Counter[str]) -> Iterator[pa.Table]:
    """The candidates of an index, in its order. Raises DataError for a table that has no column of paths."""
    there = table_columns(source)
    if "image" in there and PATH not in there and FILE_NAME not in there:
        raise DataError(
            f"{source}: this table holds the pictures themselves (column image), and such tables are not read. Save "
            "them as files or as tar shards; an index names files in a column path."
        )
    if there and PATH not in there and FILE_NAME not in there:
        raise DataError(
            f"{source}: an index needs a column path (or file_name); this table has {', '.join(there[:30])}."
        )
    return tables(_rows(source, reader, counts))


def _rows(source: str, reader: FactReader, counts: Counter[str]) -> Iterator[Row]:
    files = _Files(source)
    seen: dict[int, int] = {}
    for place, found in table_rows(source, lambda name: name in COLUMNS or name == reader.column):
        if isinstance(found, BadRow):
            yield refused_line(source, place, found.why)
            continue
        entry = renamed(found)
        try:
            held = {name: files.find(entry.get(name), name) for name in (PATH, "sketch", "mask")}
            if held[PATH] is None:
                raise Unreadable("path is missing. An index needs a column path.")
        except Unreadable as error:
            yield refused_line(source, place, str(error))
            continue
        uris = {name: one[0] for name, one in held.items() if one}
        mark, content = hash(uris[PATH]), hash(json.dumps(entry, default=repr, sort_keys=True))
        if mark in seen:
            counts["duplicate path" if seen[mark] == content else "duplicate path, other facts"] += 1
            continue
        seen[mark] = content
        facts = reader.row(entry, f"{source}, {place}")
        yield facts | {
            "uri": uris[PATH],
            "kind": "file",
            "detail": "",
            "version": facts["version"] or " ".join(one[1] for one in held.values() if one),
            "sketch_uri": uris.get("sketch"),
            "mask_uri": uris.get("mask"),
        }


class _Files:
    """Where files lie that an index names, with size and time: asked one by one on disk, by folders on S3."""

    def __init__(self, source: str) -> None:
        self._beside = posixpath.dirname(source)
        self._folder = lru_cache(_FOLDERS_KEPT)(self._list)

    def find(self, value: Any, name: str) -> tuple[str, str] | None:
        """(address, version) of the file that a cell names; None for an empty cell. Raises Unreadable."""
        path = path_of(value, name)
        if path is None:
            return None
        for uri in map(self._address, spellings(path)):
            if (entry := self._entry(uri)) is not None:
                return uri, version_of(entry)
        return self._address(tidy(path)), version_of(None)

    def _address(self, path: str) -> str:
        return path if is_s3(path) else posixpath.join(self._beside, path)

    def _entry(self, uri: str) -> FileEntry | None:
        if not is_s3(uri):
            return storage.file_entry(uri)
        listed = self._folder(posixpath.dirname(uri))
        if isinstance(listed, DataError):
            raise Unreadable(str(listed))
        return listed.get(uri)

    @staticmethod
    def _list(folder: str) -> dict[str, FileEntry] | DataError:
        """The files of a folder on S3, or why this address cannot be listed; a server that is away is an error."""
        try:
            return {entry.uri: entry for entry in storage.list_folder(folder)[1]}
        except DataError as error:
            if storage.is_wrong_address(error):
                return error
            raise
