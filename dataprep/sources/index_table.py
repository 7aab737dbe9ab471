"""An index given as the source itself: a Parquet table or JSON lines, one picture a line.

Columns: `path` (needed; absolute, an s3:// address, or relative to the index's folder), `sketch` and `mask` (as path),
`version` (what changes with the bytes; else size and time of the file are looked up), and those of `facts`; any other
column can be named by `Selection.group_by`. Lines keep their order; a path that comes again is counted as "duplicate
path". A file that is not there becomes a reject when it is read.
"""

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.errors import DataError
from dataprep.sources.facts import facts_of, json_lines, text
from dataprep.sources.folder_tree import version_of
from dataprep.sources.items import BATCH_ROWS, Row, tables
from dataprep.storage import store as storage
from dataprep.storage.store import FileEntry, is_s3

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz")
COLUMNS = (
    *("path", "sketch", "mask", "version", "tags", "rating", "score", "group", "caption", "date"),
    *("width", "height", "pool", "parent", "deleted", "banned"),
)
_FOLDERS_KEPT = 4096  # listings of S3 folders that are remembered: an index is mostly in the order of its folders


def is_table(source: str) -> bool:
    return source.endswith(SUFFIXES)


def table(source: str, column: str | None, counts: Counter[str]) -> Iterator[pa.Table]:
    """The candidates of an index, in its order."""
    return tables(_rows(source, column, counts))


def _rows(source: str, column: str | None, counts: Counter[str]) -> Iterator[Row]:
    entries = _parquet_entries(source, column) if source.endswith(".parquet") else json_lines(source)
    versions = _Versions()
    seen: set[int] = set()
    for where, entry in entries:
        uris = {name: _address(source, entry.get(name), name, where) for name in ("path", "sketch", "mask")}
        if uris["path"] is None:
            raise DataError(f"{where}: path is missing. An index needs a column path.")
        mark = hash(uris["path"])
        if mark in seen:
            counts["duplicate path"] += 1
            continue
        seen.add(mark)
        facts = facts_of(entry, where, column)
        yield facts | {
            "uri": uris["path"],
            "kind": "file",
            "detail": "",
            "version": facts["version"] or " ".join(versions.of(uri) for uri in uris.values() if uri),
            "sketch_uri": uris["sketch"],
            "mask_uri": uris["mask"],
        }


def _parquet_entries(uri: str, column: str | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    filesystem, path = storage.arrow_filesystem(uri)
    with storage.explained(uri), pq.ParquetFile(path, filesystem=filesystem) as file:
        names = [name for name in file.schema_arrow.names if name in COLUMNS or name == column]
        if "path" not in names:
            there = ", ".join(file.schema_arrow.names)
            raise DataError(f"{uri}: an index needs a column path; this table has {there}.")
        number = 0
        for batch in file.iter_batches(BATCH_ROWS, columns=names):
            for row in batch.to_pylist():
                number += 1
                yield f"{uri}, row {number}", row


def _address(source: str, path: Any, name: str, where: str) -> str | None:
    path = text(path, name, where)
    if not path:
        return None
    if is_s3(path) or path.startswith("/"):
        return path
    if "://" in path:
        raise DataError(f"{where}: {path} is neither a path nor an s3:// address.")
    if ".." in path.split("/"):
        raise DataError(f"{where}: {path!r} is not a path inside the folder of the index.")
    return posixpath.join(posixpath.dirname(source), path)


class _Versions:
    """Size and time of files: asked one by one on disk, by folders on S3."""

    def __init__(self) -> None:
        self._folder = lru_cache(_FOLDERS_KEPT)(self._list)

    def of(self, uri: str) -> str:
        if not is_s3(uri):
            return version_of(storage.file_entry(uri))
        return version_of(self._folder(posixpath.dirname(uri)).get(uri))

    @staticmethod
    def _list(folder: str) -> dict[str, FileEntry]:
        return {entry.uri: entry for entry in storage.list_folder(folder)[1]}
