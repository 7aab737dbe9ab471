"""What an index line, a side file or a metadata row says about a picture, checked and in the words of a candidate.

Columns: tags (list of words), rating, group, caption (words), score (number), width, height (whole numbers), date
(ISO), pool, parent (words or numbers), deleted, banned (true, 1 or "true"), version (word or number). Anything else is
left for `Selection.group_by`. A value of the wrong kind is a DataError that names the place.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

from dataprep.errors import DataError
from dataprep.sources.items import Row
from dataprep.storage import store as storage

MOST_LINE_BYTES = 16 << 20
MOST_WHOLE = 2**63 - 1  # columns of whole numbers are int64
_MOST_SCORE = 3.4e38  # scores are float32
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def facts_of(entry: Mapping[str, Any], where: str, column: str | None) -> Row:
    """The facts of one entry as candidate columns; `column` is the one that gives the groups, if any."""
    row = {name: read(entry.get(name), name, where) for name, read in _READERS.items()}
    row["column"] = None if column is None else _label(entry.get(column), column, where)
    return row


def json_object(text: str, where: str) -> dict[str, Any]:
    """The JSON object that the text is; DataError for anything else."""
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):  # half a character by itself has no UTF-8: it becomes "?"
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: a JSON object is needed.")
    return value


def json_lines(uri: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of each line that is not empty, read as a stream; a file that ends in .gz is unpacked."""
    filesystem, path = storage.arrow_filesystem(uri)
    with storage.explained(uri), filesystem.open_input_stream(path, compression="detect") as stream:
        for number, line in enumerate(_lines(stream, uri), 1):
            if line.strip():
                where = f"{uri}, line {number}"
                yield where, json_object(line.decode("utf-8", "replace"), where)


def _lines(stream: Any, uri: str) -> Iterator[bytes]:
    """The lines of a stream; one without end is refused."""
    rest = b""
    while block := stream.read(1 << 20):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        if len(rest) > MOST_LINE_BYTES:
            raise DataError(f"{uri}: a line has more than {MOST_LINE_BYTES >> 20} MiB. JSON lines are needed.")
    if rest:
        yield rest


def text(value: Any, name: str, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"{where}: {name} must be a word, not {value!r}.")


def number(value: Any, name: str, where: str) -> float | None:
    if value is None:
        return None
    if _is_number(value, _MOST_SCORE):
        return float(value)
    raise DataError(f"{where}: {name} must be a number, not {value!r}.")


def whole(value: Any, name: str, where: str) -> int | None:
    if value is None:
        return None
    if _is_number(value, MOST_WHOLE) and value == int(value):
        return int(value)
    raise DataError(f"{where}: {name} must be a whole number, not {value!r}.")


def flag(value: Any, name: str = "", where: str = "") -> bool:
    """Whether the value is one of the spellings of true."""
    return value in (True, 1, "1", "t", "true", "True")


def day(value: Any, name: str = "date", where: str = "") -> str | None:
    """YYYY-MM-DD of an ISO date or a date object; None where it is none."""
    written = value.isoformat() if isinstance(value, date | datetime) else value
    found = _ISO_DAY.match(written) if isinstance(written, str) else None
    return found.group() if found else None


def _is_number(value: Any, most: float) -> bool:
    """Whether the value is a finite number of at most this magnitude."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -most <= value <= most


def _words(value: Any, name: str, where: str) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise DataError(f"{where}: {name} must be a list of words.")
    return value


def _label(value: Any, name: str, where: str) -> str | None:
    """A word or a whole number as a word."""
    if _is_number(value, MOST_WHOLE) and value == int(value):
        return str(int(value))
    return text(value, name, where) or None


def _mark(value: Any, name: str, where: str) -> str | None:
    """A word or any number as a word."""
    return text(str(value) if isinstance(value, int | float) else value, name, where) or None


_READERS: dict[str, Callable[[Any, str, str], Any]] = {
    "group": text,
    "tags": _words,
    "rating": text,
    "score": number,
    "caption": text,
    "width": whole,
    "height": whole,
    "date": day,
    "pool": _label,
    "parent": _label,
    "deleted": flag,
    "banned": flag,
    "version": _mark,
}
