"""Hugging Face's imagefolder: a table that names pictures by `file_name`, in folders below it or in archives there.

`text` is the caption, the other columns are those of `facts`; `sketch_file_name` and `mask_file_name` are drawings of
the same picture. A member of `sub/images.zip` is called `sub/0.png`, `sub/images/0.png` or `sub/images.zip/0.png`; one
name in several archives is nobody's. What the table does not name is taken too, behind the others.
"""

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dataprep.sources.beside.file_names import FileNames, composed, path_of
from dataprep.sources.beside.side_files import SideFiles
from dataprep.sources.facts import COLUMNS, FactReader, Unreadable
from dataprep.sources.items import Row, file_row, is_picture, stem_of, version_of
from dataprep.sources.tables.row import BadRow
from dataprep.sources.tables.rows import FILE_NAME, refused_line, renamed, table_columns, table_rows
from dataprep.sources.webdataset import is_shard, shards_ahead
from dataprep.storage.store import FileEntry

TABLES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_EXTRAS = {"sketch": f"sketch_{FILE_NAME}", "mask": f"mask_{FILE_NAME}"}


def is_imagefolder(table: str) -> bool:
    """Whether a file is such a table: by its name and its column."""
    return posixpath.basename(table) in TABLES and FILE_NAME in table_columns(table)


@dataclass
class Imagefolder:
    """The folder of one table; its archives are listed when it is made. `is_used`: whether a name is there."""

    table: str
    listed: Mapping[str, FileEntry]
    reader: FactReader
    counts: Counter[str]
    is_used: bool = field(init=False)
    _members: list[Row] = field(default_factory=list)
    _by_name: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        folder = posixpath.dirname(self.table)
        self._below = sorted(uri for uri in self.listed if uri.startswith(f"{folder}/"))
        self._read_shards(folder, [uri for uri in self._below if is_shard(uri)])
        names = FileNames(self.listed)
        lines = (row for _, row in self._lines() if not isinstance(row, BadRow))
        self.is_used = any(self._is_there(row, folder, names) for row in lines)

    def rows(self) -> Iterator[Row]:
        """What the table names, in its order, then all others by address."""
        taken: set[str | int] = set()
        if self.is_used:
            yield from self._named(posixpath.dirname(self.table), FileNames(self.listed), taken)
        rest = [uri for uri in self._below if is_picture(uri) and uri not in taken]
        for uri, facts in zip(rest, SideFiles(self.listed, self.reader).facts(rest), strict=True):
            yield facts | file_row(self.listed[uri])
        yield from (row for place, row in enumerate(self._members) if place not in taken)

    def _read_shards(self, folder: str, shards: list[str]) -> None:
        """The members of the archives by each name that a table may give them."""
        for uri, rows in zip(
            shards, shards_ahead([self.listed[uri] for uri in shards], self.reader, self.counts), strict=True
        ):
            archive = uri.removeprefix(f"{folder}/")
            for row in rows:
                _, hash_mark, member = row["uri"].removeprefix(uri).partition("#")
                for before in (posixpath.dirname(archive), stem_of(archive), archive) if hash_mark else ():
                    name = composed(posixpath.join(before, member))
                    self._by_name.setdefault(name, []).append(len(self._members))
                self._members.append(row)

    def _lines(self) -> Iterator[tuple[str, Mapping[str, Any] | BadRow]]:
        wanted = {"path", FILE_NAME, *_EXTRAS.values(), *COLUMNS, self.reader.column}
        for place, row in table_rows(self.table, wanted.__contains__):
            yield place, row if isinstance(row, BadRow) else renamed(row)

    def _is_there(self, entry: Mapping[str, Any], folder: str, names: FileNames) -> bool:
        try:
            path = path_of(entry.get("path"), FILE_NAME)
        except Unreadable:
            return False
        return path is not None and (names.find(folder, path) is not None or composed(path) in self._by_name)

    def _named(self, folder: str, names: FileNames, taken: set[str | int]) -> Iterator[Row]:
        for place, entry in self._lines():
            if isinstance(entry, BadRow):
                yield refused_line(self.table, place, entry.why)
                continue
            try:
                yield from self._row(entry, f"{self.table}, {place}", folder, names, taken)
            except Unreadable as error:
                yield refused_line(self.table, place, str(error))

    def _row(
        self, entry: Mapping[str, Any], where: str, folder: str, names: FileNames, taken: set[str | int]
    ) -> Iterator[Row]:
        """The row of one line, or none where its picture has had one. Raises Unreadable."""
        path = path_of(entry.get("path"), FILE_NAME)
        if path is None:
            raise Unreadable(f"{FILE_NAME} is missing")
        file = names.find(folder, path)
        extras = {role: names.named(folder, entry.get(column), column) for role, column in _EXTRAS.items()}
        found = file.uri if file else self._member(path)
        if found in taken:
            self.counts["duplicate path"] += 1
            return
        taken |= {found, *(extra.uri for extra in extras.values() if extra)}
        facts = self.reader.row(entry, where)
        if file:
            yield facts | file_row(file, **extras)
            return
        row = self._members[int(found)]
        drawn = {f"{role}_uri": extra.uri for role, extra in extras.items() if extra}
        drawn["version"] = " ".join([row["version"], *(version_of(extra) for extra in extras.values() if extra)])
        read = {name: value for name, value in facts.items() if value is not None and name != "version"}
        yield row if row.get("refused") else row | read | drawn

    def _member(self, path: str) -> int:
        found = self._by_name.get(composed(path), [])
        if len(found) != 1:
            why = f"{path} is in several archives" if found else f"there is no {path} in the folder or its archives"
            raise Unreadable(why)
        return found[0]
