"""The official layout: color/ sketch/ mask/ with pictures of one name in each, plain or in numbered zips.

    color/0001.zip#a.jpg   sketch/0001.zip#a.png   mask/0001.zip#a.png      one row: zip and name, but for the suffix
    color/deep/b.jpg       sketch/deep/b.png       mask/deep/b.png          the same with plain files

Members may be called `0001/a.jpg` too. Sketches and masks may be missing. `image_list.json` beside the folders, where
there is one, says which pictures are taken: a list of names ("a.jpg", "0001/a.jpg") or of objects {"name", ...} with
the columns of `facts` (tags also as one text with commas, as the released loaders want them), or {zip: [names]}. A line
art or mask whose picture is not there is counted as "no picture", a name in the list without a picture as "no file", a
picture that the list does not name as "not listed", a second picture of one name (a.jpg, a.png) as "duplicate name":
of these the one counts that has a line art or mask of its very name, suffix and all, and no other is paired with it.
A zip of sketches or masks that cannot be read to its end is a reject. Zips are gone through one at a time. What is no
picture, and what lies beside the three folders, is counted by kind (`left_out`).
"""

import json
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from dataprep.errors import DataError
from dataprep.sources.archives import Archive, Member
from dataprep.sources.beside.file_names import composed
from dataprep.sources.facts import FactReader, comma_words
from dataprep.sources.folder_tree import INDEX
from dataprep.sources.items import Row, file_row, is_picture, refused_row, stem_of, tables, version_of
from dataprep.sources.left_out import count_file, count_kind, count_litter, is_litter, without_litter
from dataprep.sources.tables.json_text import MOST_ARRAY_BYTES, array_elements, json_object
from dataprep.sources.tables.lines import decoded
from dataprep.sources.tables.rows import refused_line
from dataprep.sources.webdataset import is_shard, member_row
from dataprep.storage import store as storage
from dataprep.storage.store import FileEntry

COLOR, EXTRAS = "color", ("sketch", "mask")
LIST = "image_list.json"
_PLAIN = ""  # stands for the plain files of a folder, as if they were one more archive


@dataclass(frozen=True)
class Held:
    """A picture of one of the folders: a file, or a member of an archive."""

    entry: FileEntry
    member: Member | None = None

    @property
    def file_name(self) -> str:
        """The last part of its name, with the suffix."""
        return posixpath.basename(self.member.name if self.member else self.entry.uri)


@dataclass
class Listed:
    """Name -> what the list says (JSON), which names were met, and the entries that name nothing."""

    entries: dict[str, str]
    where: str
    met: set[str] = field(default_factory=set)
    refused: list[Row] = field(default_factory=list)

    def find(self, key: str) -> str | None:
        """The entry of a picture by its full name or its own. Raises DataError where two pictures answer to one."""
        key = composed(key)
        name = key if key in self.entries else posixpath.basename(key)
        if name not in self.entries:
            return None
        if name in self.met:
            raise DataError(f"{self.where}: {name} is in several archives; name it with its own, as {key}.")
        self.met.add(name)
        return self.entries[name]


def is_triplets(source: str) -> bool:
    """Whether the folder is laid out so; one with an index.jsonl is a tree that says itself what is what."""
    folders, files = storage.list_folder(source)
    return {COLOR, EXTRAS[0]} <= {*folders} and not any(entry.uri.endswith(f"/{INDEX}") for entry in files)


def triplets(source: str, reader: FactReader, counts: Counter[str]) -> Iterator[pa.Table]:
    """The candidates of an official layout, zip by zip, by name."""
    return tables(_rows(source, reader, counts))


def _rows(source: str, reader: FactReader, counts: Counter[str]) -> Iterator[Row]:
    listed = _listed(storage.join(source, LIST), counts)
    yield from () if listed is None else listed.refused
    folders = {name: _archives(storage.join(source, name), counts) for name in (COLOR, *EXTRAS)}
    _count_beside(source, counts)
    for archive in sorted({archive for found in folders.values() for archive in found}):
        colors, *others = _paired(
            [_pictures(archive, folders[name].get(archive, []), counts) for name in (COLOR, *EXTRAS)], counts
        )
        extras = dict(zip(EXTRAS, others, strict=True))
        yield from _broken(archive, others)
        counts["no picture"] += sum(len(held.keys() - colors.keys()) for held in others)
        for key, color in sorted(colors.items()):
            known = "{}" if listed is None else listed.find(key)
            if known is None and not (color.member and not color.member.name):
                counts["not listed"] += 1
                continue
            where = f"{source}/{LIST}: {key}"
            facts = reader.row(json.loads(known or "{}"), where)
            yield facts | _row(color, {name: held[key] for name, held in extras.items() if key in held})
    if listed is not None:
        counts["no file"] += len(listed.entries) - len(listed.met)


def _broken(archive: str, extras: Iterable[dict[str, Held]]) -> Iterator[Row]:
    """Rejects for the sketch and mask archives that cannot be read to their end; their pictures go on without."""
    for pictures in extras:
        cut = pictures.pop(_key(archive, ""), None)
        if cut and cut.member and not cut.member.name:
            yield refused_row(cut.entry.uri, cut.member.refused or "cannot be read", version_of(cut.entry))


def _row(color: Held, extras: Mapping[str, Held]) -> Row:
    version = version_of(color.entry, *(held.entry for held in extras.values()))
    members = {name: (held.entry.uri, held.member) for name, held in extras.items() if held.member}
    if color.member:
        return member_row(color.entry.uri, version, color.member, members)
    row = file_row(color.entry)
    if row.get("refused"):
        return row
    return row | {"version": version} | {f"{name}_uri": held.entry.uri for name, held in extras.items()}


def _archives(folder: str, counts: Counter[str]) -> dict[str, list[tuple[str, FileEntry]]]:
    """Archive without suffix -> (name below the folder, file); the plain pictures stand together."""
    found: dict[str, list[tuple[str, FileEntry]]] = {}
    below = f"{folder.rstrip('/')}/"
    entries = {entry.uri.removeprefix(below): entry for entry in storage.list_files(folder, linked=True)}
    for name in without_litter(entries, counts):
        if is_shard(name):
            found.setdefault(stem_of(name), []).append((name, entries[name]))
        elif is_picture(name):
            found.setdefault(_PLAIN, []).append((name, entries[name]))
        else:
            count_file(counts, name)
    return found


def _count_beside(source: str, counts: Counter[str]) -> None:
    """What lies beside the folders of the layout and is not looked into."""
    folders, files = storage.list_folder(source)
    others = [name for name in folders if name not in (COLOR, *EXTRAS) and not is_litter(f"{name}/")]
    count_kind(counts, f"folder beside {COLOR}", len(others))
    for name in without_litter((posixpath.basename(entry.uri) for entry in files), counts):
        if name != LIST:
            count_file(counts, name)


def _pictures(archive: str, files: list[tuple[str, FileEntry]], counts: Counter[str]) -> dict[str, list[Held]]:
    """Name without suffix -> the pictures of that name, of one archive or of the plain files."""
    found: dict[str, list[Held]] = {}
    for key, held in _held(archive, files, counts):
        found.setdefault(key, []).append(held)
    return found


def _paired(found: list[dict[str, list[Held]]], counts: Counter[str]) -> list[dict[str, Held]]:
    """One picture of each name in each folder. Where a name comes twice in a folder, only what has the same suffix too
    belongs together, and the others are counted."""
    chosen: list[dict[str, Held]] = [{} for _ in found]
    for key in dict.fromkeys(key for pictures in found for key in pictures):
        held = [pictures.get(key, []) for pictures in found]
        if any(len(some) > 1 for some in held):
            color = next((one for one in held[0] if _of_name(one, held[1]) or _of_name(one, held[2])), None)
            color = color or next(iter(held[0]), None)
            alike = [
                [color] if color else [],
                *([] if color is None else _of_name(color, some)[:1] for some in held[1:]),
            ]
            counts["duplicate name"] += sum(map(len, held)) - sum(map(len, alike))
            held = alike
        for one, some in zip(chosen, held, strict=True):
            one.update((key, picture) for picture in some)
    return chosen


def _of_name(color: Held, extras: list[Held]) -> list[Held]:
    return [extra for extra in extras if extra.file_name == color.file_name]


def _held(archive: str, files: list[tuple[str, FileEntry]], counts: Counter[str]) -> Iterator[tuple[str, Held]]:
    for name, entry in files:
        if archive == _PLAIN:
            yield stem_of(name), Held(entry)
            continue
        for member in Archive(entry).members():
            if is_litter(member.name):
                count_litter(counts)
            elif is_picture(member.name) or not member.name:
                yield _key(archive, stem_of(member.name)), Held(entry, member)
            else:
                count_file(counts, member.name, inside=True)


def _key(archive: str, member: str) -> str:
    """0001/a, whether the member of 0001.zip is called a or 0001/a."""
    return member if member.startswith(f"{archive}/") else f"{archive}/{member}"


def _listed(where: str, counts: Counter[str]) -> Listed | None:
    """What the list says of each name, as JSON text (a sixth of the memory of objects); None without a list."""
    if not storage.exists(where):
        return None
    listed = Listed({}, where)
    for number, entry in enumerate(_entries(where), 1):
        name = entry.get("name", entry.get("path"))
        if not isinstance(name, str):
            why = f"an entry must be a name or have one, not {str(name)[:60]}"
            listed.refused.append(refused_line(where, f"entry {number}", why))
            continue
        stem = stem_of(composed(name).replace(".zip/", "/").replace(".zip#", "/"))
        counts["duplicate name"] += stem in listed.entries
        if isinstance(tags := entry.get("tags"), str) and not tags.startswith("["):
            entry["tags"] = comma_words(tags)
        listed.entries.setdefault(stem, json.dumps(entry))
    return listed


def _entries(where: str) -> Iterator[dict[str, Any]]:
    text = decoded(storage.read_bytes(where, MOST_ARRAY_BYTES)).strip()
    try:
        values = array_elements(text) if text.startswith("[") else _members_listed(json_object(text, where), where)
        yield from (value if isinstance(value, dict) else {"name": value} for value in values)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}") from error


def _members_listed(listed: Mapping[str, Any], where: str) -> Iterator[Any]:
    """Of {name: facts}, as the released loaders read it and `corpus export` writes it, or {zip: names}."""
    for key, held in listed.items():
        if isinstance(held, dict):
            yield held | {"name": key}
        elif isinstance(held, list):
            yield from (f"{stem_of(key)}/{name}" for name in held)
        else:
            raise DataError(f"{where}: {key} needs a list of names, or facts.")
