"""Snapshots: the immutable, numbered states of a corpus, each committed by the last and only exclusive write.

    data/<split>/<shard>/<column>-<fingerprint>.parquet   one column of one shard
    data/<split>/<shard>/<column>-<fingerprint>-r<hash>   the same after failed cells were computed again
    data/<split>/<shard>/row-<fingerprint>-<hash>.parquet what is known of its pictures (groups and tags may change)
    rejects/<hash>.parquet                                what was dropped, with the reason
    scan/<fingerprint>/<part>.parquet                     what is known of each source item (a cache; may be deleted)
    snapshots/<n>.json                                    the state: digest, counts, operators, sources, its tables
    snapshots/<n>-files-<hash>.parquet, <n>-index-<hash>.parquet      a later snapshot may name the same index

The tables carry their content's hash in the name, so that two builds that race for one number never overwrite each
other's; whoever creates `<n>.json` has won, and everything it names lies there already.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.column_files import BATCH_ROWS, ColumnFile, read_batches, read_table, write_table
from dataprep.corpus.digest import corpus_digest, rejects_digest
from dataprep.corpus.schema import FILE_SCHEMA, INDEX_SCHEMA, REJECT_SCHEMA
from dataprep.documents import DocumentError, checked, parse_document, parse_json
from dataprep.errors import DataError
from dataprep.storage import store as storage

FORMAT = 2  # raise when a table or the document changes: 2 knows buckets, scores and the reasons of failures
TABLES = {"files": FILE_SCHEMA, "index": INDEX_SCHEMA, "rejects": REJECT_SCHEMA}
_SNAPSHOT_NAME = re.compile(r"/(\d+)\.json$")
_SIZE = re.compile(r"[1-9]\d{0,4}x[1-9]\d{0,4}")
HASH_BITS = 64  # of a perceptual hash
_MOST_DOCUMENT_BYTES = 16 << 20
# Where the files of a corpus lie, in each table and in the document. One may come from elsewhere, and what it names
# must not lead out of it.
_TABLE_PATHS = {
    "files": re.compile(r"snapshots/\d+-files-[0-9a-f]+\.parquet"),
    "index": re.compile(r"snapshots/\d+-index-[0-9a-f]+\.parquet"),
    "rejects": re.compile(r"rejects/[0-9a-f]+\.parquet"),
}
_DATA_PATH = r"^data/[a-z]+/[0-9a-f]+/\w+-[0-9a-z]+(-[0-9a-z]+)*\.parquet$"


class TableFacts(TypedDict):
    """A table beside a snapshot: `path` is relative to the corpus."""

    path: str
    rows: int
    bytes: int
    sha256: str


class OperatorFacts(TypedDict):
    """What made a column (`Operator.describe`), and the fingerprint that its files have in their names."""

    name: str
    version: str | int
    settings: dict[str, Any]
    fingerprint: str
    gives: NotRequired[str]
    weights: NotRequired[Any]
    inputs: NotRequired[list[str]]


class Tables(TypedDict):
    """The three tables of a snapshot."""

    files: TableFacts
    index: TableFacts
    rejects: TableFacts


class Merged(TypedDict):
    """One part of a merge."""

    uri: str
    snapshot: int
    digest: str


class Listed(TypedDict):
    """What the sources held and what was left out, counted by rule or kind, or what was merged."""

    pictures: NotRequired[int]
    not_selected: NotRequired[dict[str, int]]
    not_taken: NotRequired[dict[str, int]]
    litter: NotRequired[int]
    notes: NotRequired[dict[str, int]]
    merged: NotRequired[list[Merged]]


class _Filters(TypedDict):
    phash_distance: NotRequired[int]


class _Buckets(TypedDict):
    sizes: NotRequired[list[str]]


class RecipeDocument(TypedDict):
    """What commands on a corpus ask of the recipe that it was built by; its other settings are only shown."""

    filters: NotRequired[_Filters]
    batch_rows: NotRequired[int]
    buckets: NotRequired[_Buckets]


class SnapshotDocument(TypedDict):
    """`snapshots/<n>.json`; counts are by split, reason or column."""

    snapshot: int
    created: str
    digest: str
    rows: dict[str, int]
    rejects: dict[str, int]
    failures: dict[str, int]
    failure_reasons: NotRequired[dict[str, dict[str, int]]]
    operators: dict[str, OperatorFacts]
    bytes: int
    sources: list[str]
    listed: NotRequired[Listed]
    recipe: RecipeDocument
    tables: Tables
    sha256: NotRequired[str]  # `document_sha256`; snapshots of version 0.1 have none


@dataclass(frozen=True)
class Snapshot:
    """One state of the corpus at `uri`; its tables are read when asked for."""

    uri: str
    number: int
    document: dict[str, Any]

    @property
    def digest(self) -> str:
        return str(self.document["digest"])

    def table(self, name: str) -> pa.Table:
        """`files`, `index` or `rejects`, as in the schema. Raises DataError where it is missing or damaged, or names a
        file that is none of a corpus.
        """
        table = read_table(self._address(name), TABLES[name])
        if name == "files":
            self._check_paths(table["path"])
        return table

    def batches(self, name: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of a table, a piece at a time, in its order: for tables with as many lines as there are rows."""
        for batch in read_batches(self._address(name), TABLES[name], columns):
            if "path" in columns:
                self._check_paths(batch["path"])
            yield batch

    def _check_paths(self, paths: pa.ChunkedArray | pa.StringArray) -> None:
        strange = paths.filter(pc.invert(pc.match_substring_regex(paths, _DATA_PATH)))
        if len(strange):
            raise DataError(
                f"{self.uri}: {self.document['tables']['files']['path']} names {strange[0].as_py()!r}, which is no "
                "place of that file in a corpus. The table is damaged, or made to lead elsewhere: do not use it."
            )

    def _address(self, name: str) -> str:
        return storage.join(self.uri, self.document["tables"][name]["path"])


@dataclass(frozen=True)
class Contents:
    """What a build has made and wants to commit: the three tables and the facts that go into the document."""

    files: Sequence[ColumnFile]
    index: pa.Table
    rejects: pa.Table
    operators: Mapping[str, Mapping[str, Any]]  # column -> description with its fingerprint
    sources: Sequence[str]
    recipe: Mapping[str, Any]
    listed: Mapping[str, Any] = field(default_factory=dict)  # what the sources held and what was not selected

    def digest(self) -> str:
        counts = {"rows": len(self.index), "rejects": len(self.rejects), "columns": len(self.operators)}
        return corpus_digest((file.cells for file in self.files), rejects_digest(refused_in(self.rejects)), counts)


def refused_in(rejects: pa.Table) -> Iterator[tuple[str | None, str]]:
    """(id, reason) of each reject, as the digest counts them."""
    for batch in rejects.select(["id", "reason"]).to_batches(BATCH_ROWS):
        yield from zip(batch["id"].to_pylist(), batch["reason"].to_pylist(), strict=True)


def snapshot_numbers(uri: str) -> list[int]:
    """The numbers of the committed snapshots, rising."""
    names = (_SNAPSHOT_NAME.search(entry.uri) for entry in storage.list_files(storage.join(uri, "snapshots")))
    return sorted(int(name.group(1)) for name in names if name)


def newest_snapshot(uri: str) -> Snapshot | None:
    """The state to build on, or None where nothing was committed yet."""
    numbers = snapshot_numbers(uri)
    return open_snapshot(uri, numbers[-1]) if numbers else None


def open_snapshot(uri: str, number: int | None = None) -> Snapshot:
    """Snapshot `number`, or the newest. Raises DataError where there is none or its document is damaged."""
    numbers = snapshot_numbers(uri)
    if not numbers:
        raise DataError(f"{uri}: there is no corpus here. Build one: irodori corpus build --source ... --out {uri}")
    number = numbers[-1] if number is None else number
    if number not in numbers:
        raise DataError(f"{uri}: there is no snapshot {number}; there are {_ranges(numbers)}.")
    path = storage.join(uri, f"snapshots/{number}.json")
    return Snapshot(uri, number, _read_document(path, number))


def _read_document(path: str, number: int) -> dict[str, Any]:
    data = storage.read_bytes(path, _MOST_DOCUMENT_BYTES)
    try:
        stored = checked(parse_json(data, path), dict[str, Any], path)
        known = stored.get("format")
        if known == FORMAT:
            document: dict[str, Any] = dict(checked(stored, SnapshotDocument, path))
            _check_document(document, number, path)
            return document
    except DocumentError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise DataError(f"{path}: damaged ({reason}). Deleting it brings back the snapshot before.") from error
    if "format" not in stored:
        raise DataError(f"{path}: damaged (no format). Deleting it brings back the snapshot before.")
    raise DataError(
        f"{path}: format {known} is not {FORMAT}, the one this version reads. Build it anew at another place."
    )


def _check_document(document: Mapping[str, Any], number: int, path: str) -> None:
    """DocumentError for values that types do not show to be wrong: counts below zero, tables that lie elsewhere."""
    if document["snapshot"] != number:
        raise DocumentError(f"snapshot is {document['snapshot']} in the document of number {number}")
    for name in ("rows", "rejects", "failures"):
        for key, count in document[name].items():
            if count < 0:
                raise DocumentError(f"{name}.{key} is {count}")
    recipe = document["recipe"]
    distance, batch = recipe.get("filters", {}).get("phash_distance", 0), recipe.get("batch_rows", 1)
    if not 0 <= distance <= HASH_BITS or batch < 1:
        raise DocumentError(f"recipe has filters.phash_distance {distance} and batch_rows {batch}")
    for size in recipe.get("buckets", {}).get("sizes", ()):
        if not _SIZE.fullmatch(size):
            raise DocumentError(f"recipe.buckets.sizes has {size!r:.40}, which is no WxH")
    for name, facts in document["tables"].items():
        if name in _TABLE_PATHS and not _TABLE_PATHS[name].fullmatch(facts["path"]):
            raise DocumentError(f"tables.{name}.path is {facts['path']!r:.80}, no place of that table in a corpus")


def commit(uri: str, contents: Contents, earlier: Snapshot | None) -> tuple[Snapshot, bool]:
    """Make the next snapshot; (snapshot, whether it is new). The same content in the same files is the earlier one.

    Raises DataError where another build has committed something else meanwhile.
    """
    digest = contents.digest()
    if earlier is not None and earlier.digest == digest and _same_files(contents, earlier):
        return earlier, False
    number = earlier.number + 1 if earlier else 1
    document = _document(uri, number, digest, contents, earlier)
    written = storage.create_exclusive(
        storage.join(uri, f"snapshots/{number}.json"), json.dumps(document, indent=2, sort_keys=True).encode()
    )
    if written:
        return Snapshot(uri, number, document), True
    other = open_snapshot(uri, number)
    if other.digest == digest:
        return other, False
    raise DataError(
        f"{uri}: another build committed snapshot {number} while this one ran, and it holds something else. "
        "Nothing of it was changed; run this build again to go on from there."
    )


def _same_files(contents: Contents, earlier: Snapshot) -> bool:
    """Whether the earlier snapshot names the same files: addresses of sources, no part of a digest, lie in some."""
    columns = ("path", "sha256")  # a lost file that was made again may hold other bytes
    named = {tuple(row.values()) for batch in earlier.batches("files", columns) for row in batch.to_pylist()}
    return named == {(file.path, file.sha256) for file in contents.files}


def _document(uri: str, number: int, digest: str, contents: Contents, earlier: Snapshot | None) -> dict[str, Any]:
    ordered = sorted(contents.files, key=lambda file: file.path)
    files = pa.table(
        {name: [getattr(file, name) for file in ordered] for name in FILE_SCHEMA.names}, schema=FILE_SCHEMA
    )
    failed: dict[str, Counter[str]] = {}
    for file in ordered:
        if file.failed:
            reasons = parse_document(file.reasons, dict[str, int], f"{uri}: the reasons of {file.path}")
            failed.setdefault(file.column, Counter()).update(reasons)
    document = {
        "format": FORMAT,
        "snapshot": number,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "digest": digest,
        "rows": counted(contents.index["split"]),
        "rejects": counted(contents.rejects["reason"]),
        "failures": {column: reasons.total() for column, reasons in failed.items()},
        "failure_reasons": {column: dict(reasons) for column, reasons in failed.items()},
        "operators": {column: dict(facts) for column, facts in contents.operators.items()},
        "bytes": sum(file.bytes for file in ordered),
        "sources": list(contents.sources),
        "listed": dict(contents.listed),
        "recipe": dict(contents.recipe),
        "tables": {
            "files": _write_table(uri, f"snapshots/{number}-files", files, None),
            "index": _write_table(uri, f"snapshots/{number}-index", contents.index, earlier),
            "rejects": _write_table(uri, "rejects/", contents.rejects, earlier),
        },
    }
    return document | {"sha256": document_sha256(document)}


def document_sha256(document: Mapping[str, Any]) -> str:
    """Of a snapshot's document without its own `sha256`, as sorted JSON: an edited value is found by `verify`."""
    others = {name: value for name, value in document.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def _write_table(uri: str, stem: str, table: pa.Table, earlier: Snapshot | None) -> dict[str, Any]:
    """Write a table of the snapshot; one that the earlier snapshot has already is named and not written again."""
    data = write_table(table)
    sha256 = hashlib.sha256(data).hexdigest()
    for known in earlier.document["tables"].values() if earlier else ():
        if known["sha256"] == sha256 and storage.exists(storage.join(uri, known["path"])):
            return dict(known)
    path = f"{stem}{'' if stem.endswith('/') else '-'}{sha256[:12]}.parquet"
    storage.write_whole(storage.join(uri, path), data)
    return {"path": path, "rows": len(table), "bytes": len(data), "sha256": sha256}


def counted(values: pa.ChunkedArray) -> dict[str, int]:
    """How often each value is there, by value."""
    return dict(sorted((entry["values"], entry["counts"]) for entry in values.value_counts().to_pylist()))


def _ranges(numbers: Sequence[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"only {numbers[0]}"
