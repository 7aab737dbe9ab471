"""Documents as nobody should write them: a sound one with each value replaced, and its bytes cut, doubled or nested."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dataprep.errors import DataError
from eval.errors import EvalError
from model.errors import ModelError
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError

REFUSED = (DataError, ModelError, EvalError, PipelineError, SettingsError)
_MOST_ENTRIES = 4  # of one object or list that are replaced: the others are alike
_DEEP = 100_000
# JSON in place of a value; json.loads takes them all but the deepest.
VALUES = {
    "null": "null",
    "a list": "[1]",
    "a mapping": '{"a": 1}',
    "empty text": '""',
    "text": '"t\\u001b[2Jx"',
    "half a character": '"\\ud800"',
    "a way out": '"../../../../etc/passwd"',
    "a negative number": "-1",
    "a huge number": "1" + "0" * 400,
    "a fraction": "0.5",
    "NaN": "NaN",
    "infinity": "1e999",
    "true": "true",
    "deep": "[" * 500 + "]" * 500,
}


def hostile(document: Any, most_entries: int = _MOST_ENTRIES) -> Iterator[tuple[str, bytes]]:
    """(what is wrong, the bytes) of each mutation of a JSON-able document."""
    sound = json.dumps(document)
    yield from _broken(sound)
    for keys in _places(document, most_entries):
        name = ".".join(map(str, keys))
        for label, text in VALUES.items():
            yield f"{name} is {label}", _with(document, keys, text).encode()
        if isinstance(keys[-1], str):
            yield f"{name} is missing", json.dumps(_changed(document, keys, remove=True)).encode()
            twice = _with(document, keys, '0, "KEY": 1').replace("KEY", str(keys[-1]))
            yield f"{name} is there twice", twice.encode()


def assert_refused_or_read(
    document: Any, read: Callable[[bytes], object], names: str, *, most_entries: int = _MOST_ENTRIES
) -> Mapping[str, int]:
    """Each mutation ends in an error of ours, in one line that has `names` in it, or is read; how often each."""
    counts = {"refused": 0, "read": 0}
    for label, data in hostile(document, most_entries):
        try:
            read(data)
            counts["read"] += 1
        except REFUSED as error:
            counts["refused"] += 1
            problem = "" if names in str(error) and "\n" not in str(error) else f"no line with {names}: {error}"
        except Exception as error:
            error.add_note(f"where {label}")
            raise
        else:
            problem = ""
        if problem:
            raise AssertionError(f"where {label}: {problem}")
    return counts


def _broken(sound: str) -> Iterator[tuple[str, bytes]]:
    data = sound.encode()
    for share in (0.0, 0.3, 0.99):
        yield f"cut at {share}", data[: int(len(data) * share)]
    yield "with a byte order mark", b"\xef\xbb\xbf" + data
    yield "in UTF-16", sound.encode("utf-16")
    yield "no UTF-8", b"\xff\xfe" + data[2:]
    yield "bytes of a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    yield "twice", data + data
    yield "nested deep", b"[" * _DEEP + b"]" * _DEEP
    yield "objects nested deep", b'{"a":' * _DEEP
    for label, text in VALUES.items():
        yield f"it is {label}", text.encode()
    if isinstance(document := json.loads(sound), dict):
        yield "with a key that nobody knows", json.dumps(document | {"unheard_of": [1]}).encode()


def _places(document: Any, most: int, *keys: str | int) -> Iterator[tuple[str | int, ...]]:
    """The keys that lead to each value, containers too."""
    if isinstance(document, dict | list):
        entries = list(document.items() if isinstance(document, dict) else enumerate(document))
        for key, value in entries if not keys else entries[:most]:
            yield (*keys, key)
            yield from _places(value, most, *keys, key)


def _changed(document: Any, keys: tuple[str | int, ...], value: Any = None, remove: bool = False) -> Any:
    copy = json.loads(json.dumps(document))
    at = copy
    for key in keys[:-1]:
        at = at[key]
    if remove:
        del at[keys[-1]]
    else:
        at[keys[-1]] = value
    return copy


def _with(document: Any, keys: tuple[str | int, ...], text: str) -> str:
    """The document with this JSON text in place of a value."""
    return json.dumps(_changed(document, keys, "@@@")).replace('"@@@"', text)
