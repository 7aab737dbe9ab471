"""The entries of a JSON document against the types of a settings class: what a checkpoint says of itself is untrusted.

Documents of a corpus, of results and of weights are read by dataprep.documents, which this package does not know. This
is the part of it that a checkpoint needs, whose entries are flat: it gives the same verdicts in the same words, to
which a test holds both.
"""

import json
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

MOST_DEPTH = 64
_MOST_INT = 2**63 - 1
_SHOWN = 40  # characters of a value in a message


def json_entries(data: bytes) -> dict[str, Any]:
    """The JSON object, each key once, nested no deeper than MOST_DEPTH. Raises ValueError for anything else.

    A byte order mark is passed over. Half a character by itself, which has no UTF-8, becomes "?".
    """
    try:
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise ValueError(f"not JSON: no UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise ValueError(f"not JSON that is read: nested deeper than {MOST_DEPTH}") from error
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    found = _plain(value, MOST_DEPTH)
    if not isinstance(found, dict):
        raise _other(found, "a mapping", "the document")
    return found


def check_types(kind: type, values: Mapping[str, Any], within: str = "") -> None:
    """ValueError, which begins with the entry's name, unless each value is of the type that `kind` gives its name.

    Names that `kind` does not have are left to it. within: the entry that `values` are the value of.
    """
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name in hints:
            _check(value, hints[name], f"{within}.{name}" if within else name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two values under one name nobody knows which is meant."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r:.60} is there twice")
    return entries


def _plain(value: Any, deeper: int) -> Any:
    """The value with whole characters, and not nested deeper than that."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if not isinstance(value, dict | list):
        return value
    if not deeper:
        raise ValueError(f"nested deeper than {MOST_DEPTH}")
    if isinstance(value, list):
        return [_plain(entry, deeper - 1) for entry in value]
    return {_plain(name, 1): _plain(entry, deeper - 1) for name, entry in value.items()}


def _check(value: Any, shape: Any, key: str) -> None:
    """ValueError unless the value, which `key` leads to, is of a type; a list is a tuple of any length."""
    origin, arguments = get_origin(shape), get_args(shape)
    if origin in (Union, types.UnionType):
        _check_union(value, arguments, key)
    elif origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            raise _other(value, _named(shape), key)
    elif origin is tuple:
        if not isinstance(value, list | tuple):
            raise _other(value, "a list", key)
        for at, entry in enumerate(value):
            _check(entry, arguments[0], f"{key}[{at}]")
    elif shape is not Any and not _is_simple(value, shape):
        raise _other(value, _named(shape), key)


def _check_union(value: Any, kinds: Sequence[Any], key: str) -> None:
    failures = []
    for kind in kinds:
        try:
            return _check(value, kind, key)
        except ValueError as error:
            failures.append(error)
    telling = [error for kind, error in zip(kinds, failures, strict=True) if kind is not types.NoneType]
    if value is not None and len(telling) == 1:
        raise telling[0]
    raise _other(value, " or ".join(map(_named, kinds)), key)


def _is_simple(value: Any, shape: Any) -> bool:
    """Text, a truth value, a number or null, and nothing that only looks like it."""
    if shape is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if shape is int:
        return type(value) is int and abs(value) <= _MOST_INT
    return value is None if shape is types.NoneType else type(value) is shape


def _named(shape: Any) -> str:
    """A type in words."""
    if get_origin(shape) is Literal:
        return " or ".join(map(str, get_args(shape)))
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", types.NoneType: "null"}
    return names.get(shape, "a list")


def _other(value: Any, wanted: str, key: str) -> ValueError:
    try:
        shown = json.dumps(value, ensure_ascii=False)
    except TypeError:
        shown = str(value)
    return ValueError(f"{key} should be {wanted}, not {shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}…'}")
