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
from typing import Any

import pyarrow as pa

from dataprep.corpus.column_files import BATCH_ROWS, ColumnFile, read_batches, read_table, write_table
from dataprep.corpus.digest import corpus_digest, rejects_digest
from dataprep.corpus.schema import FILE_SCHEMA, INDEX_SCHEMA, REJECT_SCHEMA
from dataprep.errors import DataError
from dataprep.storage import store as storage

FORMAT = 2  # raise when a table or the document changes: 2 knows buckets, scores and the reasons of failures
TABLES = {"files": FILE_SCHEMA, "index": INDEX_SCHEMA, "rejects": REJECT_SCHEMA}
_PARTS = ("digest", "rows", "rejects", "failures", "operators", "bytes", "sources", "recipe", "tables")
_SNAPSHOT_NAME = re.compile(r"/(\d+)\.json$")


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
        """`files`, `index` or `rejects`, as in the schema. Raises DataError where it is missing or damaged."""
        return read_table(self._address(name), TABLES[name])

    def batches(self, name: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of a table, a piece at a time, in its order: for tables with as many lines as there are rows."""
        return read_batches(self._address(name), TABLES[name], columns)

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
    try:
        document = json.loads(storage.read_bytes(path))
        known = document["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}). Deleting it brings back the snapshot before.") from error
    if known != FORMAT:
        raise DataError(
            f"{path}: format {known} is not {FORMAT}, the one this version reads. Build it anew at another place."
        )
    if absent := [name for name in _PARTS if name not in document]:
        raise DataError(f"{path}: damaged (no {', '.join(absent)}). Deleting it brings back the snapshot before.")
    return Snapshot(uri, number, document)


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
            failed.setdefault(file.column, Counter()).update(json.loads(file.reasons))
    return {
        "format": FORMAT,
        "snapshot": number,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "digest": digest,
        "rows": _counts(contents.index["split"]),
        "rejects": _counts(contents.rejects["reason"]),
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


def _counts(values: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted((entry["values"], entry["counts"]) for entry in values.value_counts().to_pylist()))


def _ranges(numbers: Sequence[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"only {numbers[0]}"
