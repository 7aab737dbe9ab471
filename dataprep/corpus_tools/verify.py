"""Reads a whole snapshot again and names every file that is not what it was: hash, schema, rows, ids, pictures, sizes.

The document of the snapshot is held against its tables, count by count, and against its own hash. The tables come
first, since everything else is judged by them; then every file, so that one damage does not hide another. One shard is
in memory at a time, beside the index (some 200 bytes for each row).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.column_files import ColumnFile, describe, read_rows
from dataprep.corpus.digest import corpus_digest, rejects_digest
from dataprep.corpus.hashes import short_hash
from dataprep.corpus.schema import INDEX_SCHEMA, REJECT_SCHEMA
from dataprep.corpus.shard_files import ShardFiles, ShardIds, shards
from dataprep.corpus.snapshot import TABLES, Snapshot, counted, document_sha256, open_snapshot
from dataprep.documents import parse_document, parse_json
from dataprep.errors import DataError
from dataprep.operators.outputs import JSON
from dataprep.pictures.decode import decode_png
from dataprep.pictures.guarded import decode
from dataprep.storage import store as storage

_INDEX = ("id", "split", "shard", "position")
Sizes = dict[str, tuple[int, int]]  # id -> (height, width)
CellDamages = Callable[[ColumnFile, dict[str, Any], Sizes], Iterator[str]]


def verify(uri: str, number: int | None = None) -> list[str]:
    """One line for each damage, naming the file; empty for a sound snapshot. Raises DataError where there is none."""
    snapshot = open_snapshot(uri, number)
    tables = {name: list(_table_damages(snapshot, name)) for name in TABLES}
    damages = [line for lines in tables.values() for line in lines]
    if tables["files"] or tables["index"]:
        return damages  # nothing to judge the other files by
    index = pa.Table.from_batches(snapshot.batches("index", _INDEX), pa.schema([INDEX_SCHEMA.field(n) for n in _INDEX]))
    ids = ShardIds(index)
    damages += _index_damages(snapshot, index, ids)
    damages += [line for shard in shards(snapshot) for line in _shard_damages(snapshot, shard, ids)]
    if not tables["rejects"]:
        damages += [f"snapshots/{snapshot.number}.json: {line}" for line in _document_damages(snapshot, index)]
    return damages or _digest_damages(snapshot) or _edited(snapshot)


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


def _index_damages(snapshot: Snapshot, index: pa.Table, ids: ShardIds) -> Iterator[str]:
    """The index by itself, and the shards of which it has rows but no file is there."""
    path = snapshot.document["tables"]["index"]["path"]
    known = index["id"]
    falling = pc.indices_nonzero(pc.greater_equal(known.slice(0, max(0, len(known) - 1)), known.slice(1)))
    yield from (f"{path}: {known[row]} is there twice or out of order" for row in falling.to_pylist())
    there = {(shard.split, shard.shard) for shard in shards(snapshot)}
    for split, shard in sorted(ids.keys() - there):
        yield f"{path}: shard {shard} of split {split} has no files"


def _shard_damages(snapshot: Snapshot, shard: ShardFiles, index: ShardIds) -> Iterator[str]:
    tables = snapshot.document["tables"]
    missing = snapshot.document["operators"].keys() - shard.files.keys()
    if missing:
        yield f"{tables['files']['path']}: shard {shard.shard} lacks its columns {', '.join(sorted(missing))}"
    try:
        ids = index.of(shard.split, shard.shard)
    except ValueError as error:
        yield f"{tables['index']['path']}: {error}"
        return
    sizes: Sizes = {}
    for file in sorted(shard.files.values(), key=lambda file: (file.column != "row", file.column)):
        try:
            data = storage.read_bytes(storage.join(snapshot.uri, file.path))
            changed = list(_hash_damages(vars(file), data))
            is_json = snapshot.document["operators"][file.column].get("gives") == JSON
            yield from changed or _content_damages(
                file, data, ids, sizes, _word_damages if is_json else _picture_damages
            )
        except DataError as error:
            yield _named(file.path, error)


def _hash_damages(facts: Mapping[str, Any], data: bytes) -> Iterator[str]:
    if len(data) != facts["bytes"]:
        yield f"{facts['path']}: {len(data)} bytes, {facts['bytes']} were written"
    elif hashlib.sha256(data).hexdigest() != facts["sha256"]:
        yield f"{facts['path']}: the content has changed (another sha256 at the same size)"


def _content_damages(
    file: ColumnFile, data: bytes, ids: list[str], sizes: Sizes, cell_damages: CellDamages
) -> Iterator[str]:
    """The bytes are those that were written; were they right? Fills `sizes` from the row file."""
    found = describe(file.path, file.split, file.shard, file.column, file.fingerprint, data)
    if (found.rows, found.failed, found.cells) != (file.rows, file.failed, file.cells):
        yield f"{file.path}: its cells are not those that the snapshot counts"
    rows = read_rows(data, file.column, file.path)
    for position, row in enumerate(rows):
        if position >= len(ids) or row["id"] != ids[position]:
            yield f"{file.path}: row {position} is {row['id']}, out of line with the snapshot's index"
            return
        if file.column == "row":
            sizes[row["id"]] = (row["height"], row["width"])
        elif row[file.column] is not None:
            yield from cell_damages(file, row, sizes)
    if found.rows != len(ids):
        yield f"{file.path}: {found.rows} rows, the snapshot's index has {len(ids)}"


def _picture_damages(file: ColumnFile, row: dict[str, Any], sizes: Sizes) -> Iterator[str]:
    value = row[file.column]
    try:
        shape = decode(value).rgb.shape if file.column == "color" else decode_png(value).shape
    except DataError as error:
        yield f"{file.path}: the picture of {row['id']} cannot be decoded: {error}"
        return
    if row["id"] in sizes and shape[:2] != sizes[row["id"]]:
        yield f"{file.path}: the picture of {row['id']} is {shape[1]}x{shape[0]}, its row says otherwise"


def _word_damages(file: ColumnFile, row: dict[str, Any], sizes: Sizes) -> Iterator[str]:
    try:
        parse_json(row[file.column], f"{file.path}: the value of {row['id']}")
    except DataError as error:
        yield str(error)


def _document_damages(snapshot: Snapshot, index: pa.Table) -> Iterator[str]:
    """What the document says that its tables, or the rest of it, do not: counts, bytes, fingerprints."""
    document, files = snapshot.document, snapshot.table("files")
    rejects = pa.Table.from_batches(snapshot.batches("rejects", ["reason"]), pa.schema([REJECT_SCHEMA.field("reason")]))
    failed: dict[str, Counter[str]] = {}
    for file in files.filter(pc.greater(files["failed"], 0)).select(["column", "reasons"]).to_pylist():
        reasons = parse_document(file["reasons"], dict[str, int], document["tables"]["files"]["path"])
        failed.setdefault(file["column"], Counter()).update(reasons)
    found: dict[str, Any] = {
        "rows": counted(index["split"]),
        "rejects": counted(rejects["reason"]),
        "failures": {column: reasons.total() for column, reasons in failed.items()},
        "failure_reasons": {column: dict(reasons) for column, reasons in failed.items()},
        "bytes": pc.sum(files["bytes"]).as_py() or 0,
    }
    found |= {
        f"tables.{name}.rows": len(table) for name, table in (("files", files), ("index", index), ("rejects", rejects))
    }
    claimed = {**document, **{f"tables.{name}.rows": facts["rows"] for name, facts in document["tables"].items()}}
    for name, value in found.items():
        if name in claimed and claimed[name] != value:
            yield f"its {name} are {claimed[name]}, those of its tables {value}"
    for column, facts in document["operators"].items():
        inputs = [document["operators"].get(name) for name in facts.get("inputs", ())]
        made_of = [facts["name"], facts["version"], facts["settings"], facts.get("weights")]
        if None not in inputs and facts["fingerprint"] != short_hash(
            [*made_of, [known["fingerprint"] for known in inputs if known]]
        ):
            yield f"the fingerprint of operators.{column} is not that of its name, version, settings and inputs"


def _digest_damages(snapshot: Snapshot) -> list[str]:
    tables = snapshot.document["tables"]
    counts = {name: tables[table]["rows"] for name, table in (("rows", "index"), ("rejects", "rejects"))}
    counts |= {"columns": len(snapshot.document["operators"])}
    refused = (pair for batch in snapshot.batches("rejects", ["id", "reason"]) for pair in _pairs(batch))
    digest = corpus_digest(snapshot.table("files")["cells"].to_pylist(), rejects_digest(refused), counts)
    if digest == snapshot.digest:
        return []
    return [f"snapshots/{snapshot.number}.json: its digest is not that of its files"]


def _edited(snapshot: Snapshot) -> list[str]:
    """What nothing else shows: another recipe, other sources, another date."""
    document = snapshot.document
    if document.get("sha256") in (None, document_sha256(document)):
        return []
    return [f"snapshots/{snapshot.number}.json: it was edited: its sha256 is not that of its content"]


def _pairs(batch: pa.RecordBatch) -> Iterator[tuple[str | None, str]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _named(path: str, error: DataError) -> str:
    """The path once in front, whatever the error itself begins with."""
    return f"{path}: {str(error).rpartition(f'{path}: ')[2]}"
