"""The official layout: color/ sketch/ mask/ with pictures of one name in each, plain or in numbered zips.

    color/0001.zip#a.jpg   sketch/0001.zip#a.png   mask/0001.zip#a.png      one row: zip and name, but for the suffix
    color/deep/b.jpg       sketch/deep/b.png       mask/deep/b.png          the same with plain files

Sketches and masks may be missing. `image_list.json` beside the folders, where there is one, says which pictures are
taken, in its order: a list of names ("a.jpg", "0001/a.jpg") or of objects {"name", ...} with the columns of `facts`; or
{zip: [names]}. A line art or mask whose picture is not there is counted as "no picture", a name in the list without a
picture as "no file", a picture that is not in the list as "not listed".
"""

import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dataprep import storage
from dataprep.errors import DataError
from dataprep.sources.archives import Archive, Member
from dataprep.sources.facts import facts_of
from dataprep.sources.items import Row, is_picture, refused_row, stem_of, tables
from dataprep.sources.shards import is_shard, member_row
from dataprep.sources.tree import file_row, version_of
from dataprep.storage import FileEntry

COLOR, SKETCH, MASK = "color", "sketch", "mask"
LIST = "image_list.json"


@dataclass(frozen=True)
class Held:
    """A picture of one of the folders: a file, or a member of an archive."""

    entry: FileEntry
    member: Member | None = None


def is_triplets(source: str) -> bool:
    folders, _ = storage.list_folder(source)
    return COLOR in folders and SKETCH in folders


def triplets(source: str, column: str | None, counts: Counter[str]) -> Iterator[pa.Table]:
    """The candidates of an official layout, by name or in the order of its list."""
    folders = {name: _pictures(storage.join(source, name)) for name in (COLOR, SKETCH, MASK)}
    colors = folders.pop(COLOR)
    counts["no picture"] += sum(len(held.keys() - colors.keys()) for held in folders.values())
    return tables(_rows(colors, folders, _listed(source, column, colors, counts)))


def _rows(
    colors: Mapping[str, Held], folders: Mapping[str, Mapping[str, Held]], listed: Mapping[str, Row]
) -> Iterator[Row]:
    for key, facts in listed.items():
        extras = {name: held[key] for name, held in folders.items() if key in held}
        yield facts | _row(colors[key], extras)


def _row(color: Held, extras: Mapping[str, Held]) -> Row:
    version = version_of(color.entry, *(held.entry for held in extras.values()))
    members = {name: (held.entry.uri, held.member) for name, held in extras.items() if held.member}
    plain = {f"{name}_uri": held.entry.uri for name, held in extras.items() if not held.member}
    if color.member:
        row = member_row(color.entry.uri, version, color.member, members)
        return row if row.get("refused") else row | plain
    row = file_row(color.entry)
    if row.get("refused") or not members:
        return row | plain | {"version": version}
    return refused_row(
        color.entry.uri, "a plain picture whose sketch or mask is in an archive; pack both or none", version
    )


def _pictures(folder: str) -> dict[str, Held]:
    """Every picture below the folder, by its name without suffix (that of its archive in front), sorted."""
    found: dict[str, Held] = {}
    for entry in storage.list_files(folder):
        name = entry.uri.removeprefix(folder.rstrip("/") + "/")
        if is_shard(name):
            for member in Archive(entry).members():
                if is_picture(member.name) or not member.name:
                    found.setdefault(posixpath.join(stem_of(name), stem_of(member.name)), Held(entry, member))
        elif is_picture(name):
            found.setdefault(stem_of(name), Held(entry))
    return dict(sorted(found.items()))


def _listed(source: str, column: str | None, colors: Mapping[str, Held], counts: Counter[str]) -> dict[str, Row]:
    """Name -> facts of what the list takes, in its order; of everything where there is no list."""
    where = storage.join(source, LIST)
    if not storage.exists(where):
        return {key: {} for key in colors}
    short = {posixpath.basename(key): key for key in colors}
    listed: dict[str, Row] = {}
    for entry in _entries(where):
        name = entry.get("name", entry.get("path"))
        if not isinstance(name, str):
            raise DataError(f"{where}: an entry must be a name or have one, not {entry!r}.")
        stem = stem_of(name.replace(".zip/", "/").replace(".zip#", "/"))
        key = stem if stem in colors else short.get(stem)
        counts["no file"] += key is None
        counts["duplicate id"] += key in listed
        if key is not None:
            listed.setdefault(key, facts_of(entry, f"{where}: {name}", column))
    counts["not listed"] += len(colors.keys() - listed.keys())
    return listed


def _entries(where: str) -> Iterator[dict[str, Any]]:
    try:
        value = json.loads(storage.read_bytes(where))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {error}") from error
    if isinstance(value, dict):
        value = [f"{stem_of(archive)}/{name}" for archive, names in value.items() for name in names]
    if not isinstance(value, list):
        raise DataError(f"{where}: a list of names, or an object of lists, is needed.")
    for entry in value:
        yield entry if isinstance(entry, dict) else {"name": entry}
