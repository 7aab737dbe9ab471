"""Reads a whole snapshot again and names every file that is not what it was: hash, schema, rows, ids, pictures, sizes.

The snapshot's own tables come first, since everything else is judged by them; then every file, so that one damage does
not hide another.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from dataprep import storage
from dataprep.columns import describe, read_rows
from dataprep.digest import corpus_digest, rejects_digest
from dataprep.errors import DataError
from dataprep.pictures import decode, decode_png
from dataprep.snapshot import TABLES, Snapshot, open_snapshot

Sizes = dict[str, tuple[int, int]]  # id -> (height, width)


def verify(uri: str, number: int | None = None) -> list[str]:
    """One line for each damage, naming the file; empty for a sound snapshot. Raises DataError where there is none."""
    snapshot = open_snapshot(uri, number)
    tables = {name: list(_table_damages(snapshot, name)) for name in TABLES}
    damages = [line for lines in tables.values() for line in lines]
    if tables["files"] or tables["index"]:
        return damages  # nothing to judge the other files by
    damages += [line for shard in _shards(snapshot) for line in _shard_damages(snapshot, *shard)]
    return damages + ([] if damages else _digest_damages(snapshot))


def _table_damages(snapshot: Snapshot, name: str) -> Iterator[str]:
    facts = snapshot.document["tables"][name]
    try:
        data = storage.read_bytes(storage.join(snapshot.uri, facts["path"]))
        changed = list(_hash_damages(facts, data))
        yield from changed
        if not changed:
            snapshot.table(name)
    except DataError as error:
        yield _named(facts["path"], error)


def _shards(snapshot: Snapshot) -> Iterator[tuple[list[dict[str, Any]], list[str]]]:
    """(the files of a shard, `row` first; the ids that each of them must hold)."""
    ids: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for row in snapshot.table("index").to_pylist():
        ids.setdefault((row["split"], row["shard"]), []).append((row["position"], row["id"]))
    files: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in ids}
    for file in snapshot.table("files").to_pylist():
        files.setdefault((file["split"], file["shard"]), []).append(file)
    for key, of_shard in sorted(files.items()):
        ordered = sorted(of_shard, key=lambda file: (file["column"] != "row", file["column"]))
        yield ordered, [row_id for _, row_id in sorted(ids.get(key, []))]


def _shard_damages(snapshot: Snapshot, files: list[dict[str, Any]], ids: list[str]) -> Iterator[str]:
    missing = snapshot.document["operators"].keys() - {file["column"] for file in files}
    if missing:
        yield f"{snapshot.document['tables']['files']['path']}: a shard lacks its columns {', '.join(sorted(missing))}"
    sizes: Sizes = {}
    for file in files:
        try:
            data = storage.read_bytes(storage.join(snapshot.uri, file["path"]))
            changed = list(_hash_damages(file, data))
            yield from changed or _content_damages(file, data, ids, sizes)
        except DataError as error:
            yield _named(file["path"], error)


def _hash_damages(facts: Mapping[str, Any], data: bytes) -> Iterator[str]:
    if len(data) != facts["bytes"]:
        yield f"{facts['path']}: {len(data)} bytes, {facts['bytes']} were written"
    elif hashlib.sha256(data).hexdigest() != facts["sha256"]:
        yield f"{facts['path']}: the content has changed (another sha256 at the same size)"


def _content_damages(file: dict[str, Any], data: bytes, ids: list[str], sizes: Sizes) -> Iterator[str]:
    """The bytes are those that were written; were they right? Fills `sizes` from the row file."""
    found = describe(file["path"], file["split"], file["shard"], file["column"], file["fingerprint"], data)
    if (found.rows, found.failed, found.cells) != (file["rows"], file["failed"], file["cells"]):
        yield f"{file['path']}: its cells are not those that the snapshot counts"
    rows = read_rows(data, file["column"], file["path"])
    for position, row in enumerate(rows):
        if position >= len(ids) or row["id"] != ids[position]:
            yield f"{file['path']}: row {position} is {row['id']}, out of line with the snapshot's index"
            return
        if file["column"] == "row":
            sizes[row["id"]] = (row["height"], row["width"])
        elif row[file["column"]] is not None:
            yield from _picture_damages(file, row, sizes)
    if found.rows != len(ids):
        yield f"{file['path']}: {found.rows} rows, the snapshot's index has {len(ids)}"


def _picture_damages(file: dict[str, Any], row: dict[str, Any], sizes: Sizes) -> Iterator[str]:
    value = row[file["column"]]
    try:
        shape = decode(value).rgb.shape if file["column"] == "color" else decode_png(value).shape
    except DataError as error:
        yield f"{file['path']}: the picture of {row['id']} cannot be decoded: {error}"
        return
    if row["id"] in sizes and shape[:2] != sizes[row["id"]]:
        yield f"{file['path']}: the picture of {row['id']} is {shape[1]}x{shape[0]}, its row says otherwise"


def _digest_damages(snapshot: Snapshot) -> list[str]:
    rejects = snapshot.table("rejects")
    refused = zip(rejects["id"].to_pylist(), rejects["reason"].to_pylist(), strict=True)
    counts = {"rows": len(snapshot.table("index")), "rejects": len(rejects)}
    counts |= {"columns": len(snapshot.document["operators"])}
    digest = corpus_digest(snapshot.table("files")["cells"].to_pylist(), rejects_digest(refused), counts)
    if digest == snapshot.digest:
        return []
    return [f"snapshots/{snapshot.number}.json: its digest is not that of its files"]


def _named(path: str, error: DataError) -> str:
    """The path once in front, whatever the error itself begins with."""
    return f"{path}: {str(error).rpartition(f'{path}: ')[2]}"
