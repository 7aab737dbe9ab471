"""Rows of a Parquet file that nobody has checked: the columns that are wanted, in bounded memory.

Looked at before anything is unpacked: the size of the footer, the number of columns and rows, and the pages of each
column that is read (`parquet_pages`). Strings stay in their dictionaries until each is known to be short, since a
dictionary of one long string may stand for all rows. What is beyond a limit is an error that names file and limit; a
cell that is too long is read as `TooLong`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprep.errors import DataError
from dataprep.sources.tables.lines import LEAST_LIMIT, MOST_RATIO
from dataprep.sources.tables.parquet_pages import Chunk, chunks, pages
from dataprep.sources.tables.row import TableRow, TooLong
from dataprep.storage import store as storage

MOST_CELL_BYTES = 64 << 10
MOST_PAGE_BYTES = 64 << 20  # writers make pages of one MiB
MOST_PAGE_VALUES = 16 << 20
MOST_FOOTER_BYTES = 16 << 20
MOST_COLUMNS = 10_000
_MOST_ROWS_A_BYTE = 100
_BATCH_ROWS = 2048
_TAIL_BYTES = 8  # the length of the footer, and PAR1


def parquet_columns(uri: str) -> list[str]:
    """The names of the top columns."""
    with _opened(uri) as (file, _):
        return list(file.schema_arrow.names)


def parquet_rows(uri: str, is_wanted: Callable[[str], bool]) -> Iterator[TableRow]:
    """The wanted columns of each row, with its place."""
    with _opened(uri) as (plain, raw):
        groups = _chunks(raw, uri, plain.metadata.num_row_groups)
        names = [name for name in plain.schema_arrow.names if is_wanted(name)]
        leaves = _leaves(plain, names)
        strings = [path for path, is_text in leaves.values() if is_text]
        number = 0
        with pq.ParquetFile(raw, read_dictionary=strings, metadata=plain.metadata) as file:
            for group in range(plain.metadata.num_row_groups):
                _check_pages(raw, uri, [chunk for place, chunk in enumerate(groups[group]) if place in leaves])
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=names):
                    for row in _rows(batch, plain.schema_arrow):
                        number += 1
                        yield f"row {number}", row


@contextmanager
def _opened(uri: str) -> Iterator[tuple[pq.ParquetFile, Any]]:
    filesystem, path = storage.arrow_filesystem(uri)
    with storage.explained(uri), _named_damage(uri), filesystem.open_input_file(path) as raw:
        size = raw.size()
        footer = int.from_bytes(raw.read_at(_TAIL_BYTES, max(0, size - _TAIL_BYTES))[:4], "little")
        if size >= _TAIL_BYTES and MOST_FOOTER_BYTES < footer < size:
            raise DataError(
                f"{uri}: its footer has {footer:,} bytes, more than the {MOST_FOOTER_BYTES:,} that are read."
            )
        with pq.ParquetFile(raw, thrift_string_size_limit=MOST_FOOTER_BYTES) as file:
            columns, rows = file.metadata.num_columns, file.metadata.num_rows
            if columns > MOST_COLUMNS:
                raise DataError(f"{uri}: it has {columns:,} columns, more than the {MOST_COLUMNS:,} that are read.")
            if rows > max(1_000_000, _MOST_ROWS_A_BYTE * size):
                raise DataError(f"{uri}: it states {rows:,} rows in {size:,} bytes; it is not read.")
            yield file, raw


@contextmanager
def _named_damage(uri: str) -> Iterator[None]:
    """What pyarrow says of names that are no text, and what is found here."""
    try:
        yield
    except (UnicodeError, _DamageError) as error:
        raise DataError(f"{uri} is damaged: {error}.") from error


class _DamageError(Exception):
    """Values that no writer would have written."""


def _leaves(file: pq.ParquetFile, names: list[str]) -> dict[int, tuple[str, bool]]:
    """Position -> (path, whether it holds strings) of the plain columns below the named ones."""
    schema = file.schema
    columns = ((position, schema.column(position)) for position in range(len(schema.names)))
    return {
        position: (column.path, column.physical_type == "BYTE_ARRAY" and column.logical_type.type != "DECIMAL")
        for position, column in columns
        if column.path.split(".")[0] in names
    }


def _chunks(raw: Any, uri: str, count: int) -> list[list[Chunk]]:
    """The column chunks of each row group, as the footer places them."""
    size = raw.size()
    footer = int.from_bytes(raw.read_at(_TAIL_BYTES, size - _TAIL_BYTES)[:4], "little")
    try:
        groups = chunks(raw.read_at(footer, size - _TAIL_BYTES - footer))
        if len(groups) != count:
            raise ValueError(f"its footer has {len(groups)} row groups, and Arrow sees {count}")
    except ValueError as error:
        raise DataError(f"{uri} is damaged: {error}.") from error
    return groups


def _check_pages(raw: Any, uri: str, columns: list[Chunk]) -> None:
    """Raises DataError where a page, or all of a column together, would unpack to more than is read."""
    for chunk in columns:
        where = f"{uri}: column {chunk.path}"
        unpacked = 0
        try:
            for page in pages(raw, chunk.start, chunk.start + chunk.size):
                unpacked += page.unpacked
                if page.unpacked > MOST_PAGE_BYTES or page.values > MOST_PAGE_VALUES:
                    raise DataError(
                        f"{where} has a page of {page.unpacked:,} bytes and {page.values:,} values, more than the "
                        f"{MOST_PAGE_BYTES:,} or {MOST_PAGE_VALUES:,} that are read."
                    )
        except ValueError as error:
            raise DataError(f"{where} is damaged: {error}.") from error
        most = max(LEAST_LIMIT, MOST_RATIO * chunk.size)
        if unpacked > most:
            raise DataError(f"{where} unpacks to {unpacked:,} bytes, more than {most:,}; it is not read.")


def _rows(batch: pa.RecordBatch, schema: pa.Schema) -> list[dict[str, Any]]:
    """The rows as objects; cells that are too long are replaced before they become one."""
    long: list[tuple[int, str, int]] = []
    columns = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        sizes = _bytes_of(array)
        is_long = sizes > MOST_CELL_BYTES
        long += [(int(row), name, int(sizes[row])) for row in np.flatnonzero(is_long)]
        array = pc.if_else(pa.array(is_long), pa.scalar(None, array.type), array) if is_long.any() else array
        columns[name] = array if array.type == schema.field(name).type else array.cast(schema.field(name).type)
    rows = _objects(pa.RecordBatch.from_pydict(columns))
    for row, name, size in long:
        rows[row][name] = TooLong(size)
    return rows


def _objects(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows as Python objects; text that is not UTF-8 is shown as it can be."""
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError:
        as_bytes = pa.schema([pa.field(field.name, _binary(field.type)) for field in batch.schema])
        rows = [_shown(row) for row in batch.cast(as_bytes).to_pylist()]
    return rows


def _binary(kind: pa.DataType) -> pa.DataType:
    """The same type with bytes for text."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.binary() if pa.types.is_string(kind) else pa.large_binary()
    if pa.types.is_list(kind):
        return pa.list_(pa.field(kind.value_field.name, _binary(kind.value_type)))
    if pa.types.is_struct(kind):
        fields = (kind.field(place) for place in range(kind.num_fields))
        return pa.struct([pa.field(field.name, _binary(field.type)) for field in fields])
    return kind


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return {name: _shown(one) for name, one in value.items()} if isinstance(value, dict) else value


def _bytes_of(array: pa.Array) -> npt.NDArray[np.int64]:
    """How many bytes each cell would have as plain values."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        sizes = _bytes_of(array.dictionary)
        indices = pc.fill_null(array.indices, 0).to_numpy(zero_copy_only=False).astype(np.int64)
        if array.null_count == len(array):
            return np.zeros(len(array), np.int64)
        if indices.min() < 0 or indices.max() >= len(sizes):
            raise _DamageError("a value beyond its dictionary")
        return sizes[indices]
    if (
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
    ):
        return pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        values = array.values if not pa.types.is_map(kind) else array.keys
        total = np.concatenate([[0], np.cumsum(_bytes_of(values) + 8)])
        offsets = array.offsets.to_numpy().astype(np.int64)
        return total[offsets[1:]] - total[offsets[:-1]]
    if pa.types.is_struct(kind):
        return sum((_bytes_of(array.field(place)) for place in range(kind.num_fields)), np.zeros(len(array), np.int64))
    return np.full(len(array), 8, np.int64)
