"""Reads a TensorFlow.js layers model from the JavaScript modules in which npm packages bundle it; nothing is run.

`model.min.js` exports an object with the topology and the manifest of the weights, `group1-shard*.min.js` export their
bytes as base64 strings, 8 bits a value with a smallest value and a step for each tensor. The files come from outside:
only literals are taken, and every length must fit.
"""

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import ModelError

MOST_FILE_BYTES = 64 << 20  # of one file
_EXPORTED = re.compile(r'\w\.exports=(?=["{])')
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(
    rf"(?P<string>{_STRING})|(?P<sign>[{{}}\[\],:])|(?P<flag>![01])|(?P<name>[A-Za-z_$][\w$]*)|"
    r"(?P<minus>-?)(?P<number>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)"
)
_FLAGS = {"!0": "true", "!1": "false"}
_WORDS = ("null", "true", "false")

Tensor = npt.NDArray[np.float32]


def read_bundle(folder: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """(topology, tensors by name, float32 in the layouts of TensorFlow). Raises ModelError where it is not as above."""
    try:
        model = _exported(folder / "model.min.js")
        tensors: dict[str, Tensor] = {}
        for group in model["weightsManifest"]:
            tensors |= _tensors(group["weights"], b"".join(_shards(folder, group["paths"])))
        return model["modelTopology"], tensors
    except (KeyError, TypeError, ValueError, RecursionError, OSError) as error:
        raise ModelError(f"{folder}: no TensorFlow.js model bundled as JavaScript ({error!r})") from error


def _shards(folder: Path, names: Sequence[str]) -> Iterator[bytes]:
    for name in names:
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"{name[:40]!r} is no name of a shard")
        yield base64.b64decode(_exported(folder / f"{name}.min.js"), validate=True)


def _tensors(entries: Sequence[Mapping[str, Any]], data: bytes) -> dict[str, Tensor]:
    """The tensors that lie one behind the other in `data`: smallest value + step * byte."""
    sizes = [math.prod(entry["shape"]) for entry in entries]
    if min(sizes) < 0 or sum(sizes) != len(data):
        raise ValueError(f"{sum(sizes)} values are announced, {len(data)} bytes are there")
    tensors: dict[str, Tensor] = {}
    start = 0
    for entry, size in zip(entries, sizes, strict=True):
        steps = entry["quantization"]
        if (entry["dtype"], steps["dtype"]) != ("float32", "uint8"):
            raise ValueError(f"{entry['name']} is of another type than 8 bits a float")
        values = np.frombuffer(data, np.uint8, size, start) * float(steps["scale"]) + float(steps["min"])
        tensors[entry["name"]] = values.astype(np.float32).reshape(entry["shape"])
        start += size
    return tensors


def _exported(path: Path) -> Any:
    """The literal that a module exports, as JSON has it."""
    if path.stat().st_size > MOST_FILE_BYTES:
        raise ValueError(f"{path.name} is larger than {MOST_FILE_BYTES >> 20} MiB")
    text = path.read_text("utf-8")
    found = _EXPORTED.search(text)
    if not found:
        raise ValueError(f"{path.name} exports no object and no string")
    return json.loads("".join(_literal(text, found.end())))


def _literal(text: str, start: int) -> Iterator[str]:
    """The tokens of the literal that starts there, as JSON writes them."""
    depth = 0
    while token := _TOKEN.match(text, start):
        yield _as_json(token)
        start = token.end()
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token.group(), 0)
        if depth == 0:
            return
    raise ValueError(f"no literal at {text[start : start + 20]!r}")


def _as_json(token: re.Match[str]) -> str:
    written = token.group()
    if token.lastgroup == "flag":
        return _FLAGS[written]
    if token.lastgroup == "name" and written not in _WORDS:
        return f'"{written}"'
    if token.lastgroup == "number":
        return repr(float(written)) if set(written) & set(".e") else written
    return written
