"""Where the columns of a Parquet file lie, and the sizes of their pages, before Arrow unpacks one of them.

The footer's sizes are only what it says; a page is unpacked to what its own header states. So these are read, page by
page (a small read each), and held against limits. Footer and headers are structs of the Thrift compact protocol
(parquet-format, `FileMetaData` and `PageHeader`; thrift, "Thrift Compact protocol encoding"). They are parsed here:
pyarrow's own view of a column chunk ends the process where a footer is damaged in certain places (25.0).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_HEADER_READ, _MOST_HEADER = 512, 8 << 20
_MOST_DEPTH = 16
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
_UNPACKED, _PACKED, _VALUES = 2, 3, 1  # field numbers of PageHeader, and of the headers of each kind of page
_KINDS = (5, 7, 8)  # data_page_header, dictionary_page_header, data_page_header_v2
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3  # from the footer down to what it says of one column chunk
_PATH, _CHUNK_BYTES, _DATA_PAGE, _DICTIONARY_PAGE = 3, 7, 9, 11


@dataclass(frozen=True)
class Chunk:
    """One column of one row group: its name below the root, and the bytes of the file where its pages lie."""

    path: str
    start: int
    size: int


@dataclass(frozen=True)
class Page:
    """Bytes once unpacked, bytes in the file, and values."""

    unpacked: int
    packed: int
    values: int


def chunks(footer: bytes) -> list[list[Chunk]]:
    """The column chunks of each row group, in the order of the schema. Raises ValueError for a damaged footer."""
    try:
        groups: list[Any] = _struct(footer, 0, 0)[0][_ROW_GROUPS]
        return [[_chunk(column) for column in group[_COLUMNS]] for group in groups]
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("its footer is no Parquet footer") from error


def _chunk(column: dict[int, Any]) -> Chunk:
    chunk = column[_META_DATA]
    starts = [chunk[name] for name in (_DICTIONARY_PAGE, _DATA_PAGE) if chunk.get(name)]
    return Chunk(b".".join(chunk[_PATH]).decode("utf-8", "replace"), min(map(int, starts)), int(chunk[_CHUNK_BYTES]))


def pages(file: Any, start: int, end: int) -> Iterator[Page]:
    """The pages of a column chunk that lies between two bytes of a random access file. Raises ValueError."""
    while start < end:
        fields, length = _header(file, start)
        kinds = [fields[kind] for kind in _KINDS if isinstance(fields.get(kind), dict)]
        values = [kind.get(_VALUES) for kind in kinds] or [0]
        numbers = [fields.get(_UNPACKED), fields.get(_PACKED), values[0]]
        sizes = [number for number in numbers if isinstance(number, int) and number >= 0]
        if len(sizes) < len(numbers):
            raise ValueError(f"no page at byte {start:,}")
        page = Page(*sizes)
        yield page
        start += length + page.packed


def _header(file: Any, start: int) -> tuple[dict[int, Any], int]:
    """The fields of the header at this byte by their numbers, and its length."""
    size = _HEADER_READ
    while True:
        data: bytes = file.read_at(size, start)
        try:
            return _struct(data, 0, 0)
        except IndexError as error:
            if len(data) < size or size >= _MOST_HEADER:
                raise ValueError(f"no page header at byte {start:,}") from error
            size *= 16


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    if depth > _MOST_DEPTH:
        raise ValueError("a page header is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[at]) & 0x0F != _STOP:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _whole(data, at)
        kind = head & 0x0F
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _value(data, at, kind, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value of a kind that has bytes of its own."""
    if kind == _STRUCT:
        return _struct(data, at, depth + 1)
    if kind == _BINARY:
        size, at = _plain(data, at)
        if at + size > len(data):
            raise IndexError
        return data[at : at + size], at + size
    if kind in (_LIST, _SET):
        size, kind, at = data[at] >> 4, data[at] & 0x0F, at + 1
        if size == 0x0F:
            size, at = _plain(data, at)
        found = []
        for _ in range(size):
            value, at = _value(data, at, kind, depth + 1)
            found.append(value)
        return found, at
    if kind == _DOUBLE:
        return None, at + struct.calcsize("d")
    if kind in (_BYTE, _TRUE, _FALSE):
        return data[at], at + 1
    if kind == _MAP:
        raise ValueError("a page header with a map")
    return _whole(data, at)


def _plain(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of seven bits a byte."""
    value = shift = 0
    while shift < 64:
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number without end")


def _whole(data: bytes, at: int) -> tuple[int, int]:
    """A signed number, folded over zero (zigzag)."""
    value, at = _plain(data, at)
    return (value >> 1) ^ -(value & 1), at
