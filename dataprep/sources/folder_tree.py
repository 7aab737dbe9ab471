"""A folder tree: pictures by their names, and folders that a table or an `assembled.json` rules.

- `index.jsonl`: lines of {"path", "sketch", "mask", ...} (all but path optional; the other columns are those of
  `facts`) say which pictures below this folder are taken, in their order; others below it are not.
- `metadata.jsonl`, `metadata.csv` or `metadata.parquet` with a column `file_name` (Hugging Face's imagefolder): the
  same, with pictures in shards too; what the table does not name is taken as well, behind it.
- `assembled.json`: drawings in many colourings, {"templates": [files], "colorings": 8, "seed": 0, "size": 192},
  colouring first, so that the first N are N different drawings.
- neither: every picture is taken by its name; what it really is, its content decides later. A `*.tar` or `*.zip` gives
  its members (`shards`). Files beside a picture say what is known of it (`side_files`).

A line of a table that cannot be read, or names no file, becomes a reject. What is not taken is counted by kind
(`left_out`), of a folder that an index rules what it does not name.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from posixpath import basename, dirname
from typing import Any

import pyarrow as pa

from dataprep.errors import DataError
from dataprep.pictures import assembled
from dataprep.sources.beside.file_names import FileNames
from dataprep.sources.beside.imagefolder import TABLES, Imagefolder, is_imagefolder
from dataprep.sources.beside.side_files import SideFiles
from dataprep.sources.beside.unread_tables import read_as
from dataprep.sources.facts import FactReader, Unreadable
from dataprep.sources.items import Row, file_row, is_picture, tables, version_of
from dataprep.sources.left_out import count_file, count_kind, without_litter
from dataprep.sources.tables.json_text import json_object
from dataprep.sources.tables.lines import decoded
from dataprep.sources.tables.row import BadRow
from dataprep.sources.tables.rows import refused_line, table_rows
from dataprep.sources.webdataset import is_shard, shards_ahead
from dataprep.storage.store import FileEntry, is_s3, join, list_files, read_bytes

INDEX, ASSEMBLED = "index.jsonl", "assembled.json"
_MOST_ASSEMBLED_BYTES = 1 << 20
_ASSEMBLED_NUMBERS = (
    ("colorings", 8, range(1, 10_001)),
    ("seed", 0, range(1 << 62)),
    ("size", 192, range(16, 4097)),
)
Listed = dict[str, FileEntry]


def tree(source: str, reader: FactReader, counts: Counter[str]) -> Iterator[pa.Table]:
    """The candidates of a folder tree, by address; those of a ruled folder and of a shard lie together."""
    return tables(_rows(source if is_s3(source) else os.path.normpath(source), reader, counts))


def _rows(source: str, reader: FactReader, counts: Counter[str]) -> Iterator[Row]:
    below = f"{source.rstrip('/')}/"
    found = {entry.uri.removeprefix(below): entry for entry in list_files(source, linked=True)}
    listed = {found[path].uri: found[path] for path in without_litter(found, counts)}
    ruled = _ruled_folders(listed)
    beside = SideFiles(listed, reader)
    unruled = [uri for uri in listed if not _is_ruled(dirname(uri), ruled)]
    free = [uri for uri in unruled if is_picture(uri) or is_shard(uri)]
    _count_others(unruled, beside, counts)
    imagefolders = {
        folder: Imagefolder(f"{folder}/{marker}", listed, reader, counts)
        for folder, marker in ruled.items()
        if marker in TABLES
    }
    unused = {folder for folder, table in imagefolders.items() if not table.is_used}
    used = {f"{folder}/{marker}" for folder, marker in ruled.items() if folder not in unused}
    reader.notes.read_as.append(read_as(source, listed, free, used, beside))
    for place in _in_order(free, ruled):
        if isinstance(place, list):
            yield from _free_rows(place, listed, beside, reader, counts)
        elif ruled[place] == ASSEMBLED:
            yield from _assembled(place, listed)
        elif ruled[place] == INDEX:
            yield from _counted(place, _indexed(place, listed, reader, counts), listed, counts)
        else:
            table = imagefolders.pop(place)
            _count_others((uri for uri in listed if uri.startswith(f"{place}/") and uri != table.table), beside, counts)
            yield from table.rows()


def _in_order(free: Iterable[str], ruled: dict[str, str]) -> Iterator[str | list[str]]:
    """By address: the ruled folders, and what lies between them as lists."""
    between: list[str] = []
    for place in sorted([*free, *(f"{folder}/" for folder in ruled)]):
        if place.endswith("/"):
            yield between
            yield place[:-1]
            between = []
        else:
            between.append(place)
    yield between


def _count_others(uris: Iterable[str], beside: SideFiles, counts: Counter[str]) -> None:
    """Count what is neither taken nor says something of a picture, by kind."""
    for uri in uris:
        if not (is_picture(uri) or is_shard(uri) or beside.is_one(uri)):
            count_file(counts, uri)


def _free_rows(
    uris: list[str], listed: Listed, beside: SideFiles, reader: FactReader, counts: Counter[str]
) -> Iterator[Row]:
    """Pictures and members of shards that no table rules."""
    shards = shards_ahead([listed[uri] for uri in uris if is_shard(uri)], reader, counts)
    facts = beside.facts(uri for uri in uris if not is_shard(uri))
    for uri in uris:
        if is_shard(uri):
            yield from next(shards)
        else:
            yield next(facts) | file_row(listed[uri])


def _counted(folder: str, rows: Iterable[Row], listed: Listed, counts: Counter[str]) -> Iterator[Row]:
    """The rows of an index; afterwards the pictures below its folder that none of them names are counted."""
    named: set[str | None] = set()
    for row in rows:
        named.update((row["uri"], row.get("sketch_uri"), row.get("mask_uri")))
        yield row
    for uri in (uri for uri in listed if uri.startswith(f"{folder}/") and uri not in named):
        if is_picture(uri) or is_shard(uri):
            count_kind(counts, f"not in {INDEX}")
        elif uri != f"{folder}/{INDEX}":
            count_file(counts, uri)


def _ruled_folders(listed: Listed) -> dict[str, str]:
    """Folder -> its marker file. A folder inside a ruled one is ruled by the outer."""
    markers = [uri for uri in listed if basename(uri) in (INDEX, ASSEMBLED, *TABLES)]
    ruled: dict[str, str] = {}
    for uri in sorted(markers, key=lambda uri: (uri.count("/"), basename(uri) in TABLES, uri)):
        folder, _, name = uri.rpartition("/")
        if _is_ruled(dirname(folder), ruled):
            continue
        if name in TABLES and (folder in ruled or not is_imagefolder(uri)):
            continue
        if folder in ruled:
            raise DataError(f"{uri}: a folder holds {INDEX} or {ASSEMBLED}, not both.")
        ruled[folder] = name
    return ruled


def _is_ruled(folder: str, ruled: dict[str, str]) -> bool:
    while ruled and folder not in ruled and dirname(folder) != folder:
        folder = dirname(folder)
    return folder in ruled


def _indexed(folder: str, listed: Listed, reader: FactReader, counts: Counter[str]) -> Iterator[Row]:
    """The pictures that an index.jsonl names, in its order."""
    index, names, seen = f"{folder}/{INDEX}", FileNames(listed), dict[str, int]()
    for place, entry in table_rows(index):
        if isinstance(entry, BadRow):
            yield refused_line(index, place, entry.why)
            continue
        try:
            picture, sketch, mask = (names.named(folder, entry.get(name), name) for name in ("path", "sketch", "mask"))
            if picture is None:
                raise Unreadable(f"{entry.get('path')!r} is not a path inside the folder")
        except Unreadable as error:
            yield refused_line(index, place, str(error))
            continue
        content = hash(json.dumps(entry, default=repr, sort_keys=True))
        if picture.uri in seen:
            counts["duplicate path" if seen[picture.uri] == content else "duplicate path, other facts"] += 1
            continue
        seen[picture.uri] = content
        facts = reader.row(entry, f"{index}, {place}")
        own = {"version": facts["version"] or version_of(picture, sketch, mask)}
        yield facts | file_row(picture, sketch, mask) | own


def _assembled(folder: str, listed: Listed) -> list[Row]:
    where = join(folder, ASSEMBLED)
    entry = json_object(decoded(read_bytes(where, _MOST_ASSEMBLED_BYTES)), where)
    templates = entry.get("templates")
    if not isinstance(templates, list) or not templates:
        raise DataError(f"{where}: templates must name at least one template file.")
    colorings, seed, size = (_whole_number(entry, *rule, where) for rule in _ASSEMBLED_NUMBERS)
    files = [_template_file(folder, name, FileNames(listed), where) for name in templates]
    version = version_of(listed[where], *files)
    rows = [
        _assembled_row(where, template, index, seed, size) | {"version": version}
        for file in files
        for template in assembled.parse_templates(read_bytes(file.uri, assembled.MOST_TEMPLATE_BYTES), file.uri)
        for index in range(colorings)
    ]
    return sorted(rows, key=lambda row: row["uri"])


def _template_file(folder: str, name: Any, names: FileNames, where: str) -> FileEntry:
    try:
        if (found := names.named(folder, name, "templates")) is not None:
            return found
    except Unreadable as error:
        raise DataError(f"{where}: {error}.") from error
    raise DataError(f"{where}: {name!r} is not a path inside the folder.")


def _assembled_row(where: str, template: assembled.Template, index: int, seed: int, size: int) -> Row:
    assembly = assembled.coloring(template, index, seed)
    return {
        "uri": f"{where}#{index:04d}/{template.id}-{template.style}",
        "group": f"{template.style}-{template.id}",
        "tags": ["assembled", *template.tags, *assembled.color_tags(assembly)],
        "kind": "assembled",
        "detail": json.dumps({"assembly": assembled.to_json(assembly), "size": size}),
    }


def _whole_number(entry: dict[str, Any], key: str, default: int, limits: range, where: str) -> int:
    value = entry.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value not in limits:
        raise DataError(f"{where}: {key} must be a whole number from {limits[0]} to {limits[-1]}, not {value!r}.")
    return value
