"""Overrides of settings by hand: `--set key=value`, options and YAML files, checked against the settings class.

A wrong key is answered with the nearest valid ones before any work starts. Nested settings are reached by dotted keys
(`filters.min_side=64`). Why values are converted here and not by pydantic: docs/design.md, "Settings".
"""

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

MOST_YAML_BYTES = 4 << 20
MOST_YAML_VALUES = 100_000
MOST_DEPTH = 32
Settings = TypeVar("Settings")


class SettingsError(ValueError):
    """A setting that does not exist or does not fit; the message names the nearest valid ones."""


def nearest(word: str, choices: Iterable[str], count: int = 3) -> str:
    """The choices closest to `word`, or all of them where none is close, as one phrase for a message."""
    valid = sorted(choices)
    close = difflib.get_close_matches(word, valid, n=count, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"valid are: {', '.join(valid)}"


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """`["a=1", "b.c=x"]` as a mapping. Raises SettingsError for an item without `=`."""
    parsed = {}
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key.strip():
            raise SettingsError(f"--set {assignment!r} is not of the form key=value")
        parsed[key.strip()] = value.strip()
    return parsed


def override(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """A copy of the frozen dataclass `settings` with `values` (dotted keys; strings are converted to the field's type).

    All are set at once: what one needs of another does not depend on their order. Raises SettingsError for an unknown
    key (naming the nearest ones), a value of the wrong type, or what the class's own checks refuse.
    """
    return _override(settings, values, "")


def read_overrides(path: str) -> dict[str, Any]:
    """The overrides of a YAML file: a mapping of keys to values, nested mappings are flattened to dotted keys.

    Raises SettingsError where the file holds something else.
    """
    try:
        document = read_yaml(path)
    except ValueError as error:
        raise SettingsError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path} must hold a mapping of settings, not {type(document).__name__}")
    if unnamed := next((key for key in _document_keys(document) if not isinstance(key, str)), None):
        raise SettingsError(f"{path}: {unnamed!r:.40} is no name of a setting")
    return flatten(document)


def read_yaml(path: str | Path) -> Any:
    """A YAML file of settings: plain values alone, no larger or deeper than such files are.

    Raises ValueError, in one line, where it cannot be read so, OSError where there is none.
    """
    with Path(path).open("rb") as file:
        data = file.read(MOST_YAML_BYTES + 1)
    if len(data) > MOST_YAML_BYTES:
        raise ValueError(f"more than {MOST_YAML_BYTES:,} bytes")
    loader = None
    try:
        loader = yaml.SafeLoader(data.decode("utf-8-sig"))
        node = loader.get_single_node()
        if node is None:
            return None
        _check_node(node, MOST_DEPTH, {})
        return loader.construct_document(node)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    finally:
        if loader is not None:
            loader.dispose()


def _check_node(node: yaml.Node, deeper: int, known: dict[yaml.Node, int]) -> int:
    """How many values a node stands for, those behind aliases too. ValueError where these are too many or too deep (a
    few lines of aliases stand for a billion), or a mapping has a key twice.
    """
    if node in known:
        return known[node]
    if not deeper:
        raise ValueError(f"nested deeper than {MOST_DEPTH}")
    inner = [part for entry in node.value for part in entry] if isinstance(node, yaml.MappingNode) else node.value
    if isinstance(node, yaml.ScalarNode):
        inner = []
    elif isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the key {twice!r:.60} is there twice")
    count = 1 + sum(_check_node(entry, deeper - 1, known) for entry in inner)
    if count > MOST_YAML_VALUES:
        raise ValueError(f"its aliases stand for more than {MOST_YAML_VALUES:,} values")
    known[node] = count
    return count


def _document_keys(document: Mapping[Any, Any]) -> Iterator[Any]:
    for key, value in document.items():
        yield key
        if isinstance(value, dict):
            yield from _document_keys(value)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line for each key in which two flat mappings differ: `key: old -> new`."""
    keys = sorted(before.keys() | after.keys())
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)]


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, under dotted keys: `{"a": {"b": 1}}` is `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def convert(key: str, value: Any, expected: Any) -> Any:
    """The value as the type `expected` of a settings field; text is read as a person writes it.

    "1e3" is a whole number, "none" and "" are None where that is allowed, "a, b" is a tuple. Raises SettingsError,
    which begins with `key=value`.
    """
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        if value is None or str(value).lower() in ("none", "null", ""):
            return None
        return convert(key, value, next(kind for kind in arguments if kind is not type(None)))
    if origin is tuple:
        return _tuple(key, value, arguments)
    if origin is Literal:
        if value not in arguments:
            raise SettingsError(f"{key}={value}: {nearest(str(value), arguments)}")
        return value
    if expected is bool:
        return _boolean(key, value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SettingsError(f"{key}={value} is not {_kind(expected)}")
    try:
        found = _whole(value) if expected is int else expected(value)
        if expected is float and not isfinite(found):
            raise ValueError("not finite")
        return found
    except (ValueError, OverflowError) as error:
        raise SettingsError(f"{key}={value} is not {_kind(expected)}") from error


def _override(settings: Any, values: Mapping[str, Any], prefix: str) -> Any:
    """`override` of the part of the settings that is reached by `prefix`, "" or "part."."""
    by_field: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        name, _, rest = key.partition(".")
        by_field.setdefault(name, {})[rest] = value
    changed = {name: _field(settings, name, inner, prefix) for name, inner in by_field.items()}
    try:
        return replace(settings, **changed)
    except ValueError as error:
        alone = f"{prefix}{next(iter(values))} cannot be set so: " if len(values) == 1 else ""
        raise SettingsError(f"{alone}{error}") from error


def _field(settings: Any, name: str, values: Mapping[str, Any], prefix: str) -> Any:
    """What the field becomes; `values` are under what follows its name in their keys, "" for the field itself."""
    key, rest = prefix + name, next(iter(values))
    full_key, names = f"{key}.{rest}" if rest else key, [field.name for field in fields(settings)]
    if name not in names:
        raise SettingsError(f"there is no setting {full_key!r}: {_nearest_keys(settings, full_key, prefix)}")
    current = getattr(settings, name)
    if not is_dataclass(current):
        if "" not in values:
            raise SettingsError(f"setting {key!r} has no parts, so {full_key!r} does not exist")
        return convert(key, values[""], get_type_hints(type(settings))[name])
    if "" in values:
        inner = ", ".join(f"{key}.{field.name}" for field in fields(current))
        raise SettingsError(f"{key!r} is a group of settings; set one of: {inner}")
    return _override(current, values, f"{key}.")


def _nearest_keys(settings: Any, full_key: str, prefix: str) -> str:
    """The whole dotted keys, here and in the parts, that are nearest to `full_key`; else what may stand there."""
    keys, named = [prefix + key for key in _keys(settings)], full_key.rpartition(".")[2]
    ends = {key: key.rpartition(".")[2] for key in keys}
    for cutoff in (1.0, 0.75, 0.5):
        if near := [key for key, end in ends.items() if difflib.get_close_matches(named, [end], cutoff=cutoff)]:
            return nearest(full_key, near)
    return f"valid are: {', '.join(sorted(prefix + field.name for field in fields(settings)))}"


def _keys(settings: Any) -> Iterator[str]:
    """The dotted keys of all settings, those of parts too; a part that is off is one key."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from (f"{field.name}.{key}" for key in _keys(value))
        else:
            yield field.name


def _tuple(key: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, str | list | tuple):
        value = [value]
    parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else list(value)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(parts)
    if len(kinds) != len(parts):
        raise SettingsError(f"{key}={value} needs {len(kinds)} values separated by commas")
    return tuple(convert(key, part, kind) for part, kind in zip(parts, kinds, strict=True))


def _whole(value: str | int | float) -> int:
    """12, "12", 12.0 and "1.2e1" are the whole number 12; ValueError for 12.5."""
    try:
        return int(value) if isinstance(value, str | int) else int(str(value))
    except ValueError:
        if not float(value).is_integer():
            raise
        return int(float(value))


def _boolean(key: str, value: Any) -> bool:
    spellings = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in spellings:
        raise SettingsError(f"{key}={value} is not true or false")
    return spellings[str(value).lower()]


def _kind(expected: Any) -> str:
    return {int: "a whole number", float: "a number", str: "text"}[expected]
