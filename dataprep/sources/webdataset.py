"""Tar and zip shards: members whose names differ in their suffix only belong together (as WebDataset lays them out).

`key.jpg` (or `key.color.jpg`) is the picture, `key.sketch.png` its line art, `key.mask.png` its mask, `key.json` its
facts (the columns of `facts`, or a Danbooru post), `key.txt` its caption, `key.cls` its class (tag `class:...`). Only
the picture is needed. The order of members does not matter as long as a key comes once; two pictures of one sample
(`key.jpg`, `key.png`) are two items with the same side files. What a key is that comes again, `pairing` says. Columns
that `corpus export` adds (`key.sketch_xdog.png`, `key.region_map.png`) are ours to make again and left out. What is not
taken is counted by kind (`left_out`), sketches and captions without a picture among it.
"""

import json
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from dataprep.sources.archives import COMPRESSED_TARS, TAR, ZIP, Archive, Member
from dataprep.sources.beside.pairing import PICTURE, SampleFile, SideFileError, samples_of
from dataprep.sources.danbooru.posts import is_post, post_facts
from dataprep.sources.facts import FactReader
from dataprep.sources.items import RefusedItem, Row, is_picture, refused_row, stem_of
from dataprep.sources.left_out import count_file, count_kind, count_litter, is_litter
from dataprep.sources.tables.json_text import json_value
from dataprep.sources.tables.lines import decoded
from dataprep.storage.store import FileEntry

SIDE_FILES = (".json", ".txt", ".cls")
MOST_SIDE_BYTES = 1 << 20
_ROLES = {"color": "picture", "sketch": "sketch", "sketch_drawn": "sketch", "mask": "mask"}
_DRAWN = ("sketch", "mask")
_DERIVED = re.compile(r"sketch_\w+|region_map")
_SIDE_NAMES = {"json": "facts", "txt": "caption", "cls": "class"}
_AHEAD = 8  # archives whose headers are read at the same time

Result = TypeVar("Result")


def is_shard(name: str) -> bool:
    return name.lower().endswith((TAR, ZIP, *COMPRESSED_TARS))


def shards_ahead(entries: Iterable[FileEntry], reader: FactReader, counts: Counter[str]) -> Iterator[list[Row]]:
    """The candidates of each archive in order."""
    for rows, left in ahead(partial(_shard, reader=reader), entries):
        counts.update(left)
        yield rows


def ahead(read: Callable[[FileEntry], Result], entries: Iterable[FileEntry]) -> Iterator[Result]:
    """`read` of each archive in order; the headers of the next few are read meanwhile."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(_AHEAD) as pool:
        for entry in entries:
            waiting.append(pool.submit(read, entry))
            if len(waiting) == _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def shard_rows(entry: FileEntry, reader: FactReader, counts: Counter[str]) -> list[Row]:
    """The candidates of one archive, in the order of its pictures."""
    rows, left = _shard(entry, reader)
    counts.update(left)
    return rows


def _shard(entry: FileEntry, reader: FactReader) -> tuple[list[Row], Counter[str]]:
    """The candidates of one archive, and what it holds besides."""
    archive, left = Archive(entry), Counter[str]()
    files: list[SampleFile] = []
    for member in archive.members():
        if is_litter(member.name):
            count_litter(left)
        elif file := _sample_file(archive, member, left):
            files.append(file)
    with_picture = {file.key for file in files if file.role == PICTURE}
    for file in files:
        if file.key not in with_picture:
            count_kind(left, f"{_SIDE_NAMES.get(file.role, file.role)} without a picture")
    rows = [
        _row(archive, file.member, sample, reader)
        for file, sample in zip(files, samples_of(files), strict=True)
        if file.role == PICTURE
    ]
    return rows, left


def _sample_file(archive: Archive, member: Member, left: Counter[str]) -> SampleFile | None:
    """What the member is in a sample; None, and counted, for what takes no part. Side files are read while their
    block is here."""
    if member.name.lower().endswith(SIDE_FILES):
        stem, kind = stem_of(member.name), member.name.lower()[-4:].lstrip(".")
        return SampleFile(stem, kind, member, _side_text(archive, member))
    if is_picture(member.name) or not member.name:
        key, role = _key_and_role(member.name)
        if role:
            return SampleFile(key, role, member)
        count_kind(left, "derived column")
    else:
        count_file(left, member.name, inside=True)
    return None


def _key_and_role(name: str) -> tuple[str, str | None]:
    """What a picture member belongs to, and as what: "picture", "sketch", "mask", or None for a derived column."""
    stem = stem_of(name)
    key, dot, word = stem.rpartition(".")
    if not dot or "/" in word:
        return stem, "picture"
    if word.lower() in _ROLES:
        return key, _ROLES[word.lower()]
    return (key, None) if _DERIVED.fullmatch(word) else (stem, "picture")


def member_row(archive: str, version: str, picture: Member, extras: Mapping[str, tuple[str, Member]]) -> Row:
    """The candidate that is one member; `extras`: "sketch" and "mask" as (archive, member)."""
    uri = f"{archive}#{picture.name}" if picture.name else archive
    every = {"picture": (archive, picture), **extras}
    for role, (_, member) in every.items():
        if member.refused:
            return refused_row(uri, member.refused if role == "picture" else f"{role}: {member.refused}", version)
    detail = {role: {"at": len(place)} | member.place() for role, (place, member) in every.items()}
    row: Row = {"uri": uri, "kind": "member", "detail": json.dumps(detail, separators=(",", ":")), "version": version}
    return row | {f"{role}_uri": f"{place}#{member.name}" for role, (place, member) in extras.items()}


def _row(archive: Archive, picture: Member, sample: list[SampleFile] | str, reader: FactReader) -> Row:
    if isinstance(sample, str):
        return refused_row(f"{archive.uri}#{picture.name}", sample, archive.version)
    drawn = {file.role: (archive.uri, file.member) for file in sample if file.role in _DRAWN}
    row = member_row(archive.uri, archive.version, picture, drawn)
    if row.get("refused"):
        return row
    texts = {file.role: file.text for file in sample if file.text is not None}
    return side_facts(texts, stem_of(row["uri"]), reader) | row


def side_facts(texts: Mapping[str, str | SideFileError], stem: str, reader: FactReader) -> Row:
    """What the side files of a picture say ("json", "txt", "cls"); what cannot be read is counted, and says nothing."""
    facts: Row = {}
    for kind, text in texts.items():
        if isinstance(text, SideFileError):
            reader.notes.unreadable(f".{kind} file", text, f"{stem}.{kind}")
    read = {kind: text for kind, text in texts.items() if isinstance(text, str)}
    if "json" in read:
        facts = _json_facts(read["json"], f"{stem}.json", reader)
    if "txt" in read:
        facts["caption"] = read["txt"].strip()
    if "cls" in read:
        facts["tags"] = [*(facts.get("tags") or []), f"class:{read['cls'].strip()}"]
    return facts


def _json_facts(text: str, where: str, reader: FactReader) -> Row:
    try:
        entry = json_value(text)
        if not isinstance(entry, dict):
            raise ValueError("a JSON object is needed")
    except ValueError as error:
        reader.notes.unreadable(".json file", error, where)
        return {}
    return post_facts(entry, where, reader) if is_post(entry) else reader.row(entry, where)


def _side_text(archive: Archive, member: Member) -> str | SideFileError:
    if member.length > MOST_SIDE_BYTES:
        return SideFileError(f"a side file of {member.length:,} bytes is not read")
    try:
        return decoded(archive.read(member))
    except RefusedItem as error:
        return SideFileError(str(error))
