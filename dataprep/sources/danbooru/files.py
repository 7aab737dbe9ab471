"""Which picture of a dump has which id: files and archive members by their number, as arrays.

Six million of them take about one GB, not the four of as many Python objects.
"""

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.errors import DataError
from dataprep.sources.archives import Archive
from dataprep.sources.items import CANDIDATES, Row, batches, file_row, is_picture
from dataprep.sources.left_out import count_file, count_kind, count_litter, is_litter
from dataprep.sources.webdataset import ahead, is_shard, member_row
from dataprep.storage import store as storage
from dataprep.storage.store import FileEntry

# "large" strings: the addresses of twenty million pictures pass two GB.
_HELD = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("is_picture", pa.bool_()),
        pa.field("uri", pa.large_string()),
        pa.field("kind", pa.large_string()),
        pa.field("detail", pa.large_string()),
        pa.field("version", pa.large_string()),
        pa.field("refused", pa.bool_()),
    ]
)
_TAKEN = ("uri", "kind", "detail", "version", "refused")


@dataclass(frozen=True)
class Holdings:
    """Pictures sorted by id, each id once; `refused`: archives that could not be read to their end."""

    ids: npt.NDArray[np.int64]
    is_picture: npt.NDArray[np.bool_]
    table: pa.Table
    refused: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """The position of each id, -1 where there is no such picture."""
        position = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[position] == ids, position, -1)

    def take(self, positions: npt.NDArray[np.intp]) -> pa.Table:
        """The addresses (columns of items.CANDIDATES) at these positions."""
        schema = pa.schema([CANDIDATES.field(name) for name in _TAKEN])
        return self.table.take(pa.array(positions)).cast(schema)


def hold(root: str, places: Sequence[str], counts: Counter[str]) -> Holdings:
    """All that lies below these folders of the root, and the shards at its top; of two files with one id the first."""
    refused: list[Row] = []
    numbered = _numbered(_files(root, places), root, refused, counts)
    tables = [pa.Table.from_pylist(some, _HELD) for some in batches(numbered)]
    table = pa.concat_tables([_HELD.empty_table(), *tables]).combine_chunks()
    if not len(table):
        found = f": {refused[0]['uri']} is refused ({refused[0]['why']})" if refused else ""
        raise DataError(f"{root}: no pictures named by their id in {', '.join(places) or 'tars'}{found}.")
    ids = table["id"].to_numpy()
    unusual = ~table["is_picture"].to_numpy()
    order = np.lexsort((np.arange(len(ids)), unusual, ids))  # of one id the picture, then the first
    first = np.ones(len(ids), bool)
    first[1:] = ids[order][1:] != ids[order][:-1]
    counts["duplicate file"] += int((~first & ~unusual[order]).sum())
    kept = order[first]
    return Holdings(ids[kept], ~unusual[kept], table.drop_columns(["id", "is_picture"]).take(kept), tuple(refused))


def _files(root: str, places: Sequence[str]) -> Iterator[FileEntry]:
    yield from (entry for entry in storage.list_folder(root)[1] if is_shard(entry.uri))
    for place in places:
        folders, files = storage.list_folder(storage.join(root, place))
        yield from files
        for folder in folders:  # sorted one by one: Danbooru2021 has a thousand, of five thousand files each
            yield from storage.list_files(storage.join(root, place, folder), linked=True)


def _numbered(files: Iterable[FileEntry], root: str, refused: list[Row], counts: Counter[str]) -> Iterator[Row]:
    """Rows of _HELD for the files and members that are named by a number; the others are counted."""
    shards: list[FileEntry] = []
    below = f"{root.rstrip('/')}/"
    for entry in files:
        if is_litter(entry.uri.removeprefix(below)):
            count_litter(counts)
        elif is_shard(entry.uri):
            shards.append(entry)
        elif (number := _number(entry.uri)) is not None:
            yield file_row(entry) | {"id": number, "is_picture": is_picture(entry.uri)}
        else:
            _count(counts, entry.uri)
    for rows, left in ahead(_members, shards):
        counts.update(left)
        for row in rows:
            if row.get("id") is not None:
                yield row
            elif row.get("refused"):
                refused.append(row)
            else:
                _count(counts, row["uri"], inside=True)


def _count(counts: Counter[str], name: str, inside: bool = False) -> None:
    if is_picture(name):
        count_kind(counts, "picture without an id")
    else:
        count_file(counts, name, inside)


def _members(entry: FileEntry) -> tuple[list[Row], Counter[str]]:
    archive, rows, left = Archive(entry), [], Counter[str]()
    for member in archive.members():
        if is_litter(member.name):
            count_litter(left)
            continue
        row = member_row(archive.uri, archive.version, member, {})
        number = {"id": _number(member.name), "is_picture": is_picture(member.name), "why": member.refused}
        rows.append(row | number)
    return rows, left


def _number(name: str) -> int | None:
    stem = posixpath.basename(name).partition(".")[0]
    return int(stem) if stem.isascii() and stem.isdecimal() and len(stem) < 19 else None
