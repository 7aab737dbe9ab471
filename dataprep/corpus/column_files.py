"""One column of one shard as one Parquet file: made in memory, written whole, and described by hashes.

Row groups hold 16 rows, so that a reader that wants one picture reads 16 and not 256; each file has a page index
and a checksum of each page.
Pictures are compressed already and stored as they are; `row` and `id` are text and take zstd.
"""

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.corpus.digest import cells_digest, row_hash, value_hash
from dataprep.corpus.schema import file_schema
from dataprep.errors import DataError
from dataprep.storage import store as storage

ROW_GROUP_ROWS = 16
BATCH_ROWS = 65_536  # of a table that is read a piece at a time
_REASON = re.compile(r"[a-z]+(-[a-z]+)*")
_OTHER_VERSION = "Is it another version?"


def column_path(split: str, shard: str, column: str, fingerprint: str, variant: str = "") -> str:
    """Where a column of a shard lies, relative to the corpus; files that differ at one fingerprint have a `variant`."""
    return f"data/{split}/{shard}/{column}-{fingerprint}{variant and '-'}{variant}.parquet"


@dataclass(frozen=True)
class ColumnFile:
    """What a snapshot says of one file; the fields of schema.FILE_SCHEMA. `path` is relative to the corpus."""

    shard: str
    split: str
    column: str
    fingerprint: str
    path: str
    rows: int
    failed: int
    reasons: str
    bytes: int
    sha256: str
    cells: str


class ColumnWriter:
    """Takes cells in row order and gives the bytes of a Parquet file; holds one row group of values at a time."""

    def __init__(self, column: str) -> None:
        self.column = column
        self._schema = file_schema(column)
        self._buffer = io.BytesIO()
        self._pending: list[dict[str, Any]] = []
        options = writer_options(self._schema, [column])
        self._writer = pq.ParquetWriter(self._buffer, self._schema, write_page_checksum=True, **options)

    def add(self, row_id: str, value: bytes | None, error: str | None = None) -> None:
        self.add_row({"id": row_id, self.column: value, "error": error})

    def add_row(self, row: dict[str, Any]) -> None:
        self._pending.append(row)
        if len(self._pending) == ROW_GROUP_ROWS:
            self._flush()

    def finish(self) -> bytes:
        self._flush()
        self._writer.close()
        return self._buffer.getvalue()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(pa.Table.from_pylist(self._pending, self._schema), row_group_size=ROW_GROUP_ROWS)
            self._pending = []


def writer_options(schema: pa.Schema, encoded: Collection[str]) -> dict[str, Any]:
    """How a ParquetWriter keeps rows with pictures: `encoded` columns as they are, others compressed and indexed."""
    # The Parquet name of a list's values is longer than the column's.
    leaves = [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema]
    return {
        "compression": {name: "none" if name in encoded else "zstd" for name in leaves},
        "use_dictionary": False,
        "write_page_index": True,
        "write_statistics": [name for name in leaves if name not in encoded],
        "store_schema": False,
    }


def read_rows(data: bytes, column: str, path: str) -> Iterator[dict[str, Any]]:
    """The rows of a column file, one row group in memory at a time. Raises DataError where it is not such a file."""
    with storage.explained(path):
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        expected = file_schema(column)
        if file.schema_arrow.names != expected.names or file.schema_arrow.types != expected.types:
            raise DataError(f"{path}: the schema is {file.schema_arrow.names}, not that of column {column}.")
        for batch in file.iter_batches(ROW_GROUP_ROWS):
            yield from batch.to_pylist()


def failure_reason(error: str) -> str:
    """The reason of an `error` cell, "<reason>: message" (timeout, out-of-memory, wrong-size ...), or "error"."""
    reason, colon, _ = error.partition(": ")
    return reason if colon and _REASON.fullmatch(reason) else "error"


def read_vouched(uri: str, sha256: str) -> bytes:
    """The bytes of a file that a snapshot names. Raises DataError where it holds others: none is built upon."""
    data = storage.read_bytes(uri)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(
            f"{uri}: the content is not what was written. Delete this file and run the build again: it is made anew."
        )
    return data


def describe(path: str, split: str, shard: str, column: str, fingerprint: str, data: bytes) -> ColumnFile:
    """Read a column file whole and say what it holds. Raises DataError where it cannot be read."""
    cells: list[tuple[str, bytes]] = []
    reasons: Counter[str] = Counter()
    for row in read_rows(data, column, path):
        error = row.get("error")
        if error is not None:
            reasons[failure_reason(error)] += 1
        cell = row_hash(row) if column == "row" else value_hash(row[column], failed=error is not None)
        cells.append((row["id"], cell))
    return ColumnFile(
        shard=shard,
        split=split,
        column=column,
        fingerprint=fingerprint,
        path=path,
        rows=len(cells),
        failed=reasons.total(),
        reasons=json.dumps(reasons, sort_keys=True),
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        cells=cells_digest(column, fingerprint, cells),
    )


def write_table(table: pa.Table) -> bytes:
    """Any other table of the corpus (scan parts, rejects, indexes) as Parquet bytes."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
    return sink.getvalue()


def read_table(uri: str, schema: pa.Schema) -> pa.Table:
    """A whole table of the corpus. Raises DataError where it is missing, damaged or has another schema."""
    return parse_table(storage.read_bytes(uri), uri, schema, schema.names)


def parse_table(data: bytes, uri: str, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """Some columns of a table of the corpus that was read from `uri`. Raises DataError where it is damaged."""
    with storage.explained(uri), pq.ParquetFile(pa.BufferReader(data)) as file:
        if file.schema_arrow.names != schema.names:
            raise DataError(f"{uri}: the columns are {file.schema_arrow.names}, not {schema.names}. {_OTHER_VERSION}")
        wanted = pa.schema([schema.field(name) for name in columns])
        return file.read(wanted.names).select(wanted.names).cast(wanted)


def read_batches(uri: str, schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a table of the corpus, a piece at a time, in its order. Raises DataError as `read_table` does."""
    filesystem, path = storage.arrow_filesystem(uri)
    with storage.explained(uri), pq.ParquetFile(path, filesystem=filesystem) as file:
        if file.schema_arrow.names != schema.names:
            raise DataError(f"{uri}: the columns are {file.schema_arrow.names}, not {schema.names}. {_OTHER_VERSION}")
        wanted = pa.schema([schema.field(name) for name in columns])
        for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
            yield batch.select(columns).cast(wanted)
