"""A folder tree: pictures by their names, and folders that an `index.jsonl` or an `assembled.json` rules.

- `index.jsonl`: lines of {"path", "sketch", "mask", ...} (all but path optional; the other columns are those of
  `facts`) say which pictures below this folder are taken, in their order; others below it are not.
- `assembled.json`: drawings in many colourings, {"templates": [files], "colorings": 8, "seed": 0, "size": 192},
  colouring first, so that the first N are N different drawings.
- neither: every picture is taken by its name; what it really is, its content decides later. A `*.tar` or `*.zip` gives
  its members (`shards`).

What is not taken is counted by kind (`left_out`), of a ruled folder what its marker does not name.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from posixpath import dirname
from typing import Any

import pyarrow as pa

from dataprep.errors import DataError
from dataprep.pictures import assembled
from dataprep.sources.facts import facts_of, json_lines, json_object
from dataprep.sources.items import Row, is_picture, refused_row, tables
from dataprep.sources.left_out import count_file, count_kind, without_litter
from dataprep.sources.webdataset import is_shard, shards_ahead
from dataprep.storage.store import FileEntry, is_s3, join, list_files, read_bytes

INDEX, ASSEMBLED = "index.jsonl", "assembled.json"
_ASSEMBLED_NUMBERS = (
    ("colorings", 8, range(1, 10_001)),
    ("seed", 0, range(1 << 62)),
    ("size", 192, range(16, 4097)),
)
Listed = dict[str, FileEntry]


def tree(source: str, column: str | None, counts: Counter[str]) -> Iterator[pa.Table]:
    """The candidates of a folder tree, by address; those of a ruled folder and of a shard lie together."""
    return tables(_rows(source if is_s3(source) else os.path.normpath(source), column, counts))


def version_of(*entries: FileEntry | None) -> str:
    """What changes with the bytes of these files."""
    return " ".join("" if entry is None else f"{entry.size}:{entry.version}" for entry in entries)


def file_row(entry: FileEntry) -> Row:
    """The candidate that is one picture file."""
    try:
        entry.uri.encode()
    except UnicodeEncodeError:
        return refused_row(entry.uri, "its name is not UTF-8; rename the file", version_of(entry))
    return {"uri": entry.uri, "kind": "file", "detail": "", "version": version_of(entry)}


def _rows(source: str, column: str | None, counts: Counter[str]) -> Iterator[Row]:
    below = f"{source.rstrip('/')}/"
    found = {entry.uri.removeprefix(below): entry for entry in list_files(source, linked=True)}
    listed = {found[path].uri: found[path] for path in without_litter(found, counts)}
    ruled = _ruled_folders(listed)
    unruled = [uri for uri in listed if not _is_ruled(dirname(uri), ruled)]
    free = [uri for uri in unruled if is_picture(uri) or is_shard(uri)]
    for uri in set(unruled).difference(free):
        count_file(counts, uri)
    shards = shards_ahead([listed[uri] for uri in sorted(free) if is_shard(uri)], column, counts)
    for place in sorted([*free, *(f"{folder}/" for folder in ruled)]):
        if place not in listed:
            folder = place[:-1]
            if ruled[folder] == INDEX:
                yield from _counted(folder, _indexed(folder, listed, column), listed, counts)
            else:
                yield from _assembled(folder, listed)
        elif is_shard(place):
            yield from next(shards)
        else:
            yield file_row(listed[place])


def _counted(folder: str, rows: Iterable[Row], listed: Listed, counts: Counter[str]) -> Iterator[Row]:
    """The rows of an index; afterwards the pictures below its folder that none of them names are counted."""
    named: set[str | None] = set()
    for row in rows:
        named.update((row["uri"], row["sketch_uri"], row["mask_uri"]))
        yield row
    for uri in (uri for uri in listed if uri.startswith(f"{folder}/") and uri not in named):
        if is_picture(uri) or is_shard(uri):
            count_kind(counts, f"not in {INDEX}")
        elif uri != f"{folder}/{INDEX}":
            count_file(counts, uri)


def _ruled_folders(listed: Listed) -> dict[str, str]:
    """Folder -> its marker file. A folder inside a ruled one is ruled by the outer."""
    markers = [uri for uri in listed if uri.endswith((f"/{INDEX}", f"/{ASSEMBLED}"))]
    ruled: dict[str, str] = {}
    for uri in sorted(markers, key=lambda uri: (uri.count("/"), uri)):
        folder, _, name = uri.rpartition("/")
        if _is_ruled(dirname(folder), ruled):
            continue
        if folder in ruled:
            raise DataError(f"{uri}: a folder holds {INDEX} or {ASSEMBLED}, not both.")
        ruled[folder] = name
    return ruled


def _is_ruled(folder: str, ruled: dict[str, str]) -> bool:
    while ruled and folder not in ruled and dirname(folder) != folder:
        folder = dirname(folder)
    return folder in ruled


def _indexed(folder: str, listed: Listed, column: str | None) -> Iterator[Row]:
    for where, entry in json_lines(f"{folder}/{INDEX}"):
        facts = facts_of(entry, where, column)
        picture = _listed_file(folder, entry.get("path"), listed, where)
        extras = {
            name: None if entry.get(name) is None else _listed_file(folder, entry[name], listed, where)
            for name in ("sketch", "mask")
        }
        yield facts | {
            "uri": picture.uri,
            "kind": "file",
            "detail": "",
            "version": facts["version"] or version_of(picture, *extras.values()),
            **{f"{name}_uri": None if extra is None else extra.uri for name, extra in extras.items()},
        }


def _listed_file(folder: str, path: Any, listed: Listed, where: str) -> FileEntry:
    """A file below the folder: what is not in the listing of the source cannot be named."""
    if not isinstance(path, str) or ".." in path.split("/"):
        raise DataError(f"{where}: {path!r} is not a path inside the folder.")
    if f"{folder}/{path}" not in listed:
        raise DataError(f"{where}: there is no {path} in the folder.")
    return listed[f"{folder}/{path}"]


def _assembled(folder: str, listed: Listed) -> list[Row]:
    where = join(folder, ASSEMBLED)
    entry = json_object(read_bytes(where).decode("utf-8", "replace"), where)
    names = entry.get("templates")
    if not isinstance(names, list) or not names:
        raise DataError(f"{where}: templates must name at least one template file.")
    colorings, seed, size = (_whole_number(entry, *rule, where) for rule in _ASSEMBLED_NUMBERS)
    files = [_listed_file(folder, name, listed, where) for name in names]
    version = version_of(listed[where], *files)
    rows = [
        _assembled_row(where, template, index, seed, size) | {"version": version}
        for file in files
        for template in assembled.parse_templates(read_bytes(file.uri), file.uri)
        for index in range(colorings)
    ]
    return sorted(rows, key=lambda row: row["uri"])


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
