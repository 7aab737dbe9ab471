"""The entries of a JSON document against the types of a settings class: what a checkpoint says of itself is untrusted.

Documents of a corpus, of results and of weights are read by dataprep.documents; this is the part that a checkpoint
needs, whose entries are flat.
"""

import json
import sys
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

MOST_INT = 2**63 - 1


def json_entries(data: bytes) -> dict[str, Any]:
    """The JSON object, each key once. Raises ValueError for anything else."""
    try:
        found = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("an object is needed")
    return found


def check_types(kind: type, values: Mapping[str, Any]) -> None:
    """ValueError, which begins with the entry's name, unless each value is of the type that `kind` gives its name.

    Names that `kind` does not have are left to it.
    """
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name in hints and not _is(value, hints[name]):
            raise ValueError(f"{name} should be {_named(hints[name])}, not {value!s:.40}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a key is there twice")
    return entries


def _is(value: Any, shape: Any) -> bool:
    """Whether a JSON value is of a type; a list is a tuple."""
    origin, arguments = get_origin(shape), get_args(shape)
    if shape is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_is(value, kind) for kind in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_is(entry, arguments[0]) for entry in value)
    if shape is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if shape is int:
        return type(value) is int and abs(value) <= MOST_INT
    return value is None if shape is types.NoneType else type(value) is shape


def _named(shape: Any) -> str:
    """A type in words."""
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", types.NoneType: "null"}
    if get_origin(shape) in (Union, types.UnionType):
        return " or ".join(map(_named, get_args(shape)))
    if get_origin(shape) is Literal:
        return " or ".join(map(str, get_args(shape)))
    return names.get(shape, "a list")
