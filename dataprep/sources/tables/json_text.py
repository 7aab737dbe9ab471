"""JSON as tools write it: objects, lines of objects, or one array of them."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from dataprep.errors import DataError
from dataprep.sources.tables.lines import MOST_LINE_BYTES, BoundedStream, open_bounded
from dataprep.sources.tables.row import BadRow, TableRow

MOST_ARRAY_BYTES = 512 << 20  # an array is held as text; lines are not
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BETWEEN = re.compile(r"[\s,]*")


def json_value(text: str) -> Any:
    """The JSON value that the text is. Raises ValueError."""
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):  # half a character by itself has no UTF-8: it becomes "?"
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def json_object(text: str, where: str) -> dict[str, Any]:
    """The JSON object that the text is; DataError for anything else."""
    try:
        value = json_value(text)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: a JSON object is needed.")
    return value


def json_rows(uri: str) -> Iterator[TableRow]:
    """The objects of JSON lines or of a JSON array, each with its place; a file that ends in .gz is unpacked."""
    with open_bounded(uri) as stream:
        lines = stream.lines()
        first = next(lines, None)
        if first is None:
            return
        if first[1] is not None and first[1].lstrip().startswith(b"["):
            yield from _array_rows(_whole(chain([first], lines), stream))
            return
        for number, line in chain([first], lines):
            place = f"line {number}"
            if line is None:
                yield place, BadRow(f"it has more than {MOST_LINE_BYTES >> 20} MiB. JSON lines are needed.")
            else:
                yield place, _object(line.decode("utf-8", "replace"))


def _object(text: str) -> dict[str, Any] | BadRow:
    try:
        value = json_value(text)
    except ValueError as error:
        return BadRow(f"not JSON: {error}")
    return value if isinstance(value, dict) else BadRow("a JSON object is needed.")


def _whole(lines: Iterator[tuple[int, bytes | None]], stream: BoundedStream) -> str:
    parts, size = [], 0
    for _, line in lines:
        size += MOST_ARRAY_BYTES + 1 if line is None else len(line) + 1
        if size > MOST_ARRAY_BYTES:
            raise DataError(
                f"{stream.uri}: a JSON array of more than {MOST_ARRAY_BYTES >> 20} MiB, or with a line of more than "
                f"{MOST_LINE_BYTES >> 20} MiB, is not read. Write JSON lines, an object a line."
            )
        parts.append(line or b"")
    return b"\n".join(parts).decode("utf-8", "replace")


def _array_rows(text: str) -> Iterator[TableRow]:
    number = 0
    try:
        for number, value in enumerate(array_elements(text), 1):
            yield f"entry {number}", value if isinstance(value, dict) else BadRow("a JSON object is needed.")
    except ValueError as error:
        yield f"entry {number + 1}", BadRow(f"not JSON: {error}; what follows is not read.")


def array_elements(text: str) -> Iterator[Any]:
    """The elements of a JSON array one by one: millions of them as objects would fill the memory. Raises ValueError."""
    text = text.lstrip()
    decoder, at = json.JSONDecoder(), 1
    while (found := _BETWEEN.match(text, at)) and text[found.end() : found.end() + 1] != "]":
        try:
            value, at = decoder.raw_decode(text, found.end())
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        yield json_value(json.dumps(value)) if _SURROGATE.search(text, found.end(), at) else value
