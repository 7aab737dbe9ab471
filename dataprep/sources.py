"""What a source holds: addresses first, bytes only when one item is read.

A source is a folder tree on disk or under an S3 prefix. In each folder:

- `index.jsonl`: lines of {"path", "group", "tags", "sketch"} (all but path optional) say which pictures below this
  folder are taken and what is known about them; others below it are not.
- `assembled.json`: drawings in many colourings, {"templates": [files], "colorings": 8, "seed": 0, "size": 192}.
- neither: every picture is taken by its name; what it really is, its content decides later.

Listing is a pure function of the source: sorted, the same on disk and on S3, and no item depends on how many are
wanted (assembled pictures are ordered colouring first, so that the first N are N different drawings).
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from posixpath import dirname
from typing import Any, Literal

from dataprep import assembled
from dataprep.errors import DataError
from dataprep.pictures import encode_png
from dataprep.storage import is_s3, list_files, read_bytes

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".svg")
INDEX, ASSEMBLED = "index.jsonl", "assembled.json"
_ASSEMBLED_NUMBERS = (
    ("colorings", 8, range(1, 10_001)),
    ("seed", 0, range(1 << 62)),
    ("size", 192, range(16, 4097)),
)


@dataclass(frozen=True)
class SourceItem:
    """One picture of a source, not yet read. `detail` is what `read_item` needs besides the address."""

    uri: str
    group: str | None = None
    tags: tuple[str, ...] = ()
    sketch_uri: str | None = None
    kind: Literal["file", "assembled"] = "file"
    detail: str = ""
    rating: str | None = None
    score: float | None = None
    caption: str | None = None
    mask_uri: str | None = None


@dataclass(frozen=True)
class SourceData:
    """The encoded picture, and what its source knows beyond it: artist's line art, assembly, exact mask (PNG)."""

    data: bytes
    drawn_sketch: bytes | None = None
    assembly: str | None = None
    mask: bytes | None = None


def list_items(source_uri: str) -> Iterator[SourceItem]:
    """All items, sorted by address. Raises DataError for an empty source or a broken index."""
    listed = {_relative(entry.uri, source_uri): entry.uri for entry in list_files(source_uri)}
    ruled = _ruled_folders(listed)
    items = [SourceItem(uri) for path, uri in listed.items() if _is_free_picture(path, ruled)]
    for folder, marker in ruled.items():
        items += _indexed(folder, listed) if marker == INDEX else _assembled(folder, listed)
    if not items:
        raise DataError(f"{source_uri}: no pictures here (looked for {', '.join(s[1:] for s in SUFFIXES)}).")
    yield from sorted(items, key=lambda item: item.uri)


def read_item(item: SourceItem) -> SourceData:
    """The bytes of one item. Raises DataError where its file is gone."""
    if item.kind == "assembled":
        return _read_assembled(item)
    sketch = None if item.sketch_uri is None else read_bytes(item.sketch_uri)
    return SourceData(read_bytes(item.uri), drawn_sketch=sketch)


def _relative(uri: str, source_uri: str) -> str:
    if is_s3(uri):
        return uri.removeprefix(source_uri.rstrip("/") + "/")
    return Path(os.path.relpath(uri, source_uri)).as_posix()


def _ruled_folders(listed: dict[str, str]) -> dict[str, str]:
    """Folder -> its marker file; "" is the source itself. A folder inside a ruled one is ruled by the outer."""
    ruled: dict[str, str] = {}
    for path in sorted(listed, key=lambda path: (path.count("/"), path)):
        folder, _, name = path.rpartition("/")
        if name not in (INDEX, ASSEMBLED) or any(_inside(folder, outer) for outer in ruled if outer != folder):
            continue
        if folder in ruled:
            raise DataError(f"{listed[path]}: a folder holds {INDEX} or {ASSEMBLED}, not both.")
        ruled[folder] = name
    return ruled


def _inside(path: str, folder: str) -> bool:
    return folder == "" or path == folder or path.startswith(folder + "/")


def _in(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _is_free_picture(path: str, ruled: dict[str, str]) -> bool:
    return path.lower().endswith(SUFFIXES) and not any(_inside(dirname(path), folder) for folder in ruled)


def _indexed(folder: str, listed: dict[str, str]) -> Iterator[SourceItem]:
    index = listed[_in(folder, INDEX)]
    for number, line in enumerate(read_bytes(index).decode("utf-8", "replace").splitlines(), 1):
        where = f"{index}, line {number}"
        if not line.strip():
            continue
        entry = _object(line, where)
        tags = entry.get("tags") or []
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise DataError(f"{where}: tags must be a list of words.")
        sketch = entry.get("sketch")
        yield SourceItem(
            uri=_listed_file(folder, entry.get("path"), listed, where),
            group=_text_or_none(entry.get("group"), where),
            tags=tuple(tags),
            sketch_uri=None if sketch is None else _listed_file(folder, sketch, listed, where),
        )


def _listed_file(folder: str, path: Any, listed: dict[str, str], where: str) -> str:
    """The address of a file below the folder: what is not in the listing of the source cannot be named."""
    if not isinstance(path, str) or ".." in path.split("/"):
        raise DataError(f"{where}: {path!r} is not a path inside the folder.")
    if _in(folder, path) not in listed:
        raise DataError(f"{where}: there is no {path} in the folder.")
    return listed[_in(folder, path)]


def _text_or_none(value: Any, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"{where}: group must be a word, not {value!r}.")


def _assembled(folder: str, listed: dict[str, str]) -> Iterator[SourceItem]:
    where = listed[_in(folder, ASSEMBLED)]
    entry = _object(read_bytes(where).decode("utf-8", "replace"), where)
    names = entry.get("templates")
    if not isinstance(names, list) or not names:
        raise DataError(f"{where}: templates must name at least one template file.")
    colorings, seed, size = (_whole_number(entry, *rule, where) for rule in _ASSEMBLED_NUMBERS)
    for name in names:
        file = _listed_file(folder, name, listed, where)
        for template in assembled.parse_templates(read_bytes(file), file):
            for index in range(colorings):
                yield _assembled_item(where, template, index, seed, size)


def _assembled_item(where: str, template: assembled.Template, index: int, seed: int, size: int) -> SourceItem:
    assembly = assembled.coloring(template, index, seed)
    return SourceItem(
        uri=f"{where}#{index:04d}/{template.id}-{template.style}",
        group=f"{template.style}-{template.id}",
        tags=("assembled", *template.tags, *assembled.color_tags(assembly)),
        kind="assembled",
        detail=json.dumps({"assembly": assembled.to_json(assembly), "size": size}),
    )


def _read_assembled(item: SourceItem) -> SourceData:
    fields = json.loads(item.detail)
    assembly, size = assembled.from_json(fields["assembly"]), fields["size"]
    return SourceData(
        data=assembled.svg_of(assembly, size).encode(),
        drawn_sketch=encode_png(assembled.line_art(assembly, size)),
        assembly=fields["assembly"],
        mask=encode_png(assembled.mask(assembly, size)),
    )


def _whole_number(entry: dict[str, Any], key: str, default: int, limits: range, where: str) -> int:
    value = entry.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value not in limits:
        raise DataError(f"{where}: {key} must be a whole number from {limits[0]} to {limits[-1]}, not {value!r}.")
    return value


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: a JSON object is needed.")
    return value
