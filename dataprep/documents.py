"""Documents that come from elsewhere: JSON bytes, parsed within bounds and checked against the types that are expected.

What a file says of itself is as untrusted as the file. Everything that reads one asks here, so that whatever is wrong
with it (cut short, nested too deep, a key of another type, twice, or missing) is one line with the file and the key.
Expected types are those of annotations: plain ones, lists, mappings, unions, literals, `TypedDict` (further keys are
let through, for a later version may have written them) and dataclasses (whose keys are all known).
"""

import dataclasses
import json
import sys
import types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from dataprep.errors import DataError

MOST_DOCUMENT_BYTES = 64 << 20  # of a document; the largest of ours, a history of a million steps, has less
MOST_DEPTH = 64
_MOST_INT = 2**63 - 1
_SHOWN = 40  # characters of a value in a message

Shape = TypeVar("Shape")


class DocumentError(DataError):
    """A document that is not what it should be; the message names the file and the key."""


def read_json(uri: str, most: int = MOST_DOCUMENT_BYTES) -> Any:
    """The JSON document at an address. Raises DataError where there is none, DocumentError where it is none."""
    from dataprep.storage.store import read_bytes  # not for those who have the bytes: it brings pyarrow and boto3

    return parse_json(read_bytes(uri, most), uri)


def read_document(uri: str, shape: type[Shape], most: int = MOST_DOCUMENT_BYTES) -> Shape:
    """The JSON document at an address as `shape`. Raises DataError where there is none, DocumentError for another."""
    return checked(read_json(uri, most), shape, uri)


def parse_document(data: bytes | str, shape: type[Shape], where: str) -> Shape:
    """The JSON document as `shape`; `where` names it in the DocumentError that is raised for anything else."""
    return checked(parse_json(data, where), shape, where)


def parse_json(data: bytes | str, where: str, file_names: bool = False) -> Any:
    """The JSON value. Raises DocumentError, also for a key that is there twice and for what is nested too deep.

    A byte order mark is passed over. Half a character by itself, which has no UTF-8, becomes "?"; `file_names`: but for
    those halves that stand for the bytes of a file's name (`os.fsdecode`).
    """
    try:
        text = data if isinstance(data, str) else bytes(data).decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise DocumentError(f"{where}: not JSON: no UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise DocumentError(f"{where}: not JSON that is read: nested deeper than {MOST_DEPTH}") from error
    except ValueError as error:
        raise DocumentError(f"{where}: not JSON: {error}") from error
    return _plain(value, where, MOST_DEPTH, "surrogateescape" if file_names else "strict")


def json_lines(data: bytes, where: str) -> list[Any]:
    """The values of JSON lines; empty lines are passed over. DocumentError names the line."""
    lines = enumerate(data.splitlines(), 1)
    return [parse_json(line, f"{where}, line {number}") for number, line in lines if line.strip()]


def checked(value: Any, shape: type[Shape], where: str) -> Shape:
    """A JSON value as `shape`. Raises DocumentError, which names `where` and the key."""
    made: Shape = _checked(value, shape, where, "")
    return made


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two values under one name nobody knows which is meant."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r:.60} is there twice")
    return entries


def _plain(value: Any, where: str, deeper: int, halves: str) -> Any:
    """The value with whole characters, and not nested deeper than that; `halves`: how Python encodes others."""
    if isinstance(value, str):
        return value if value.isascii() else _whole_characters(value, halves)
    if not isinstance(value, dict | list):
        return value
    if not deeper:
        raise DocumentError(f"{where}: nested deeper than {MOST_DEPTH}")
    if isinstance(value, list):
        return [_plain(entry, where, deeper - 1, halves) for entry in value]
    return {_plain(name, where, 1, halves): _plain(entry, where, deeper - 1, halves) for name, entry in value.items()}


def _whole_characters(text: str, halves: str) -> str:
    try:
        return text.encode("utf-8", halves).decode("utf-8", halves)
    except UnicodeError:
        return text.encode("utf-8", "replace").decode()


def _checked(value: Any, shape: Any, where: str, key: str) -> Any:
    """The value as the type, which `key` leads to."""
    origin, arguments = get_origin(shape), get_args(shape)
    if shape is Any:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments, where, key)
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            raise _other(value, _named(shape), where, key)
        return value
    if is_typeddict(shape):
        return _entries(value, shape, where, key)
    if dataclasses.is_dataclass(shape):
        return _made(value, shape, where, key)
    if origin is tuple and arguments[-1] is not Ellipsis:
        if not isinstance(value, list | tuple) or len(value) != len(arguments):
            raise _other(value, f"a list of {len(arguments)}", where, key)
        places = enumerate(zip(value, arguments, strict=True))
        return tuple(_checked(entry, kind, where, f"{key}[{at}]") for at, (entry, kind) in places)
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list | tuple):
            raise _other(value, "a list", where, key)
        entries = [_checked(entry, arguments[0], where, f"{key}[{at}]") for at, entry in enumerate(value)]
        return tuple(entries) if origin is tuple else entries
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise _other(value, "a mapping", where, key)
        return {name: _checked(entry, arguments[1], where, _below(key, name)) for name, entry in value.items()}
    return _simple(value, shape, where, key)


def _simple(value: Any, shape: Any, where: str, key: str) -> Any:
    """Text, a truth value, a number or null, and nothing that only looks like it."""
    if shape in (None, types.NoneType) and value is None:
        return None
    if shape is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if shape is int and type(value) is int and abs(value) <= _MOST_INT:
        return value
    if shape in (str, bool) and type(value) is shape:
        return value
    raise _other(value, _named(shape), where, key)


def _one_of(value: Any, kinds: Sequence[Any], where: str, key: str) -> Any:
    """The value as the first of these types that it is."""
    failures: list[DocumentError] = []
    for kind in kinds:
        try:
            return _checked(value, kind, where, key)
        except DocumentError as error:
            failures.append(error)
    compound = [error for kind, error in zip(kinds, failures, strict=True) if kind is not types.NoneType]
    if value is not None and len(compound) == 1:
        raise compound[0]  # "or null" would hide what is wrong inside
    raise _other(value, " or ".join(map(_named, kinds)), where, key)


def _entries(value: Any, shape: Any, where: str, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _other(value, "a mapping", where, key)
    if missing := sorted(shape.__required_keys__ - value.keys()):
        raise DocumentError(f"{where}: {f'{key} has ' if key else ''}no {', '.join(missing)}")
    hints = _hints(shape)
    return {name: _checked(entry, hints.get(name, Any), where, _below(key, name)) for name, entry in value.items()}


def _made(value: Any, shape: Any, where: str, key: str) -> Any:
    """An object of a dataclass, whose own checks have the last word."""
    if not isinstance(value, dict):
        raise _other(value, "a mapping", where, key)
    fields = [field for field in dataclasses.fields(shape) if field.init]
    needed = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if missing := sorted(needed - value.keys()):
        raise DocumentError(f"{where}: {f'{key} has ' if key else ''}no {', '.join(missing)}")
    if unknown := sorted(value.keys() - {field.name for field in fields}):
        raise DocumentError(f"{where}: {_below(key, unknown[0])} is not known here")
    hints = _hints(shape)
    entries = {name: _checked(entry, hints[name], where, _below(key, name)) for name, entry in value.items()}
    try:
        return shape(**entries)
    except ValueError as error:
        raise DocumentError(f"{where}: {f'{key}: ' if key else ''}{error}") from error


@cache
def _hints(shape: Any) -> dict[str, Any]:
    return get_type_hints(shape)


def _below(key: str, name: str) -> str:
    name = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    return f"{key}.{name}" if key else name


def _named(shape: Any) -> str:
    """A type in words."""
    if get_origin(shape) is Literal:
        return " or ".join(map(str, get_args(shape)))
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", types.NoneType: "null"}
    if get_origin(shape) in (list, tuple, Sequence):
        return "a list"
    return names.get(shape, "a mapping")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):  # of YAML: a date, a set
        text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _other(value: Any, wanted: str, where: str, key: str) -> DocumentError:
    return DocumentError(f"{where}: {key or 'the document'} should be {wanted}, not {_shown(value)}")
