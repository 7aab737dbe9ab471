"""What an index line, a side file or a metadata row says about a picture, in the words of a candidate.

Columns: tags (list of words), rating, group, caption (words), score (number), width, height (whole numbers), date
(ISO), pool, parent (words or numbers), deleted, banned (true, 1 or "true"), version (word or number). Anything else is
left for `Selection.group_by`. Values are read as tools write them: NaN, null and empty cells are unknown; "12" is 12;
tags may be one text with commas, or a list written as text. A value that cannot be read is unknown too, and counted
(`Notes.unread_facts`); it costs neither the picture nor the others.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from math import isnan
from typing import Any

from dataprep.sources.items import Row
from dataprep.sources.notes import Notes
from dataprep.sources.tables.json_text import json_value

MOST_WHOLE = 2**63 - 1  # columns of whole numbers are int64
_MOST_SCORE = 3.4e38  # scores are float32
_MOST_LIST_TEXT = 64 << 10
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PYTHON_WORD = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_PYTHON_LIST = re.compile(rf"\[\s*(?:(?:{_PYTHON_WORD.pattern})\s*,?\s*)*\]")
_ESCAPED = re.compile(r"\\(.)")
_BOORU = ("md5", "file_url")  # servers of this kind write tags with spaces between them
_UNKNOWN_NUMBERS = ("", "nan", "null", "none")  # as text
_TRUE, _FALSE = ("1", "t", "true", "yes"), ("", "0", "f", "false", "no", "nan", "null", "none")


class Unreadable(ValueError):
    """A value that is not of the kind which its column asks for."""


class FactReader:
    """Reads facts and counts in `notes` what cannot be read; `column` is the one that gives the groups, if any."""

    def __init__(self, column: str | None = None, notes: Notes | None = None) -> None:
        self.column = column
        self.notes = Notes() if notes is None else notes

    def row(self, entry: Mapping[str, Any], where: str) -> Row:
        """The facts of one entry as candidate columns."""
        row = {name: self.read(name, read, entry.get(name), where) for name, read in _READERS.items() if name != "tags"}
        tags = entry.get("tags")
        if isinstance(tags, str) and "," not in tags and any(name in entry for name in _BOORU):
            tags = tags.split()
        row["tags"] = self.read("tags", words, tags, where)
        group = None if self.column is None else entry.get(self.column)
        row["column"] = None if self.column is None else self.read(self.column, label, group, where)
        return row

    def read(self, name: str, read: Callable[[Any], Any], value: Any, where: str) -> Any:
        """The value as `read` gives it; None where it raises Unreadable, which is counted."""
        try:
            return read(value)
        except Unreadable:
            self.notes.unreadable(name, value, where)
            return None


def is_unknown(value: Any) -> bool:
    """Whether a table says nothing here: null, or the NaN that tools write for it."""
    return value is None or (isinstance(value, float) and isnan(value))


def text(value: Any) -> str | None:
    """A text; of several (captions of one picture) the first."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = value[0]
    if is_unknown(value) or isinstance(value, str):
        return None if is_unknown(value) else value
    raise Unreadable


def word(value: Any) -> str | None:
    """A word or a whole number as a word."""
    return _whole_word(value) if _is_number(value, MOST_WHOLE) else text(value)


def number(value: Any) -> float | None:
    """A finite number, also where it is written as text."""
    value = _from_text(value)
    if is_unknown(value):
        return None
    if _is_number(value, _MOST_SCORE):
        return float(value)
    raise Unreadable


def whole(value: Any) -> int | None:
    """A whole number, also where it is written as text or as 12.0."""
    value = _from_text(value)
    if is_unknown(value):
        return None
    if _is_number(value, MOST_WHOLE) and value == int(value):
        return int(value)
    raise Unreadable


def flag(value: Any) -> bool:
    """Whether the value is one of the spellings of true."""
    if is_unknown(value):
        return False
    written = str(int(value)) if value in (0, 1) else str(value).lower()
    if written not in _TRUE and written not in _FALSE:
        raise Unreadable
    return written in _TRUE


def day(value: Any) -> str | None:
    """YYYY-MM-DD of an ISO date or a date object."""
    written = value.isoformat() if isinstance(value, date | datetime) else value
    if is_unknown(written) or written == "":
        return None
    found = _ISO_DAY.match(written) if isinstance(written, str) else None
    if found is None:
        raise Unreadable
    return found.group()


def label(value: Any) -> str | None:
    """A word or a whole number as a word; an empty one is none."""
    return word(value) or None


def words(value: Any) -> list[str] | None:
    """A list of words, or one text: a list written as text, words with commas between them, or a single word."""
    if is_unknown(value):
        return None
    if isinstance(value, str):
        return _words_of_text(value.strip())
    if not isinstance(value, list):
        raise Unreadable
    found = [word(part) for part in value]
    return [part for part in found if part]


def comma_words(value: str) -> list[str]:
    """The words between commas."""
    return [part for part in map(str.strip, value.split(",")) if part]


def _words_of_text(value: str) -> list[str]:
    if value.startswith("[") and value.endswith("]"):
        return words(_listed(value)) or []
    found = comma_words(value)
    if len(found) == 1 and len(value.split()) > 1:
        raise Unreadable  # one tag of several words, or several tags: nobody can know
    return found


def _listed(value: str) -> Any:
    """The list that a text is: JSON, or as Python writes it."""
    if len(value) > _MOST_LIST_TEXT:
        raise Unreadable
    try:
        return json_value(value)
    except ValueError as error:
        if not _PYTHON_LIST.fullmatch(value):
            raise Unreadable from error
    return [_ESCAPED.sub(r"\1", found.group()[1:-1]) for found in _PYTHON_WORD.finditer(value)]


def _from_text(value: Any) -> Any:
    """The number that a text is, as a whole one where it is; anything else as it is."""
    if not isinstance(value, str):
        return value
    written = value.strip()
    if written.lower() in _UNKNOWN_NUMBERS:
        return None
    for kind in (int, float):
        try:
            return kind(written)
        except ValueError:
            continue
    raise Unreadable


def _is_number(value: Any, most: float) -> bool:
    """Whether the value is a finite number of at most this magnitude."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -most <= value <= most


def _whole_word(value: float) -> str:
    if value != int(value):
        raise Unreadable
    return str(int(value))


def _mark(value: Any) -> str | None:
    """A word or any number as a word."""
    if is_unknown(value):
        return None
    return text(str(value) if isinstance(value, int | float) else value) or None


_READERS: dict[str, Callable[[Any], Any]] = {
    "group": word,
    "tags": words,
    "rating": word,
    "score": number,
    "caption": text,
    "width": whole,
    "height": whole,
    "date": day,
    "pool": label,
    "parent": label,
    "deleted": flag,
    "banned": flag,
    "version": _mark,
}

COLUMNS = (*_READERS, "text", *_BOORU)  # of a table, where one is read column by column
