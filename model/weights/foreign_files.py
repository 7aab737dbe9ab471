"""Weight files of others, opened as hostile: what they hold by name, shape and precision, and the tensors asked for.

Only tensors are read and nothing of a file is run: safetensors, or torch's weights-only reading (.ckpt, .bin, .pth).
Shapes come from headers; the numbers of a .ckpt stay mapped on disk until they are asked for, unless it is of the
format that torch wrote before 2020, which cannot be mapped.
"""

import pickle
import struct
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from model.errors import ModelError

SUFFIXES = (".safetensors", ".ckpt", ".bin", ".pth", ".pt")
_LONGEST_KEY = 512
_DAMAGED = (
    *(pickle.UnpicklingError, struct.error, RuntimeError, OSError, EOFError, ImportError),
    *(ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError),
)
_DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "BOOL": torch.bool, "U8": torch.uint8},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
}


@dataclass(frozen=True, eq=False)
class WeightFile:
    """One file: its tensors on the meta device, by key, and the texts that a safetensors header carries."""

    path: Path
    format: Literal["safetensors", "torch"]
    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def read(self, keys: Iterable[str] | None = None) -> dict[str, torch.Tensor]:
        """The numbers of these keys, or of all, on the CPU as they were stored. Raises ModelError."""
        wanted = list(self.tensors if keys is None else keys)
        if self.format == "torch":
            content = _torch_tensors(self.path)
            return {key: content[key] for key in wanted}
        try:
            with safe_open(self.path, "pt") as file:
                return {key: file.get_tensor(key) for key in wanted}
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{self.path}: not a readable safetensors file ({error})") from error


def open_weights(path: Path) -> WeightFile:
    """What a file holds. Raises ModelError where it is missing, damaged, or holds more than named tensors."""
    if not path.is_file():
        raise ModelError(f"{path}: the weight file is missing")
    if path.suffix == ".safetensors":
        return _open_safetensors(path)
    if path.suffix not in SUFFIXES:
        raise ModelError(f"{path}: a weight file ends in {', '.join(SUFFIXES)}")
    return WeightFile(path, "torch", {key: _shape_of(path, key, value) for key, value in _torch_tensors(path).items()})


def read_published(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file. Raises ModelError."""
    return open_weights(path).read()


def _open_safetensors(path: Path) -> WeightFile:
    try:
        with safe_open(path, "pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            headers = {key: (entry.get_shape(), entry.get_dtype()) for key, entry in slices.items()}
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})") from error
    tensors = {}
    for key, (shape, dtype) in headers.items():
        if dtype not in _DTYPES:
            raise ModelError(f"{path}: {_checked(path, key)} is of the number format {dtype}, which is not known here")
        tensors[_checked(path, key)] = _on_meta(path, key, shape, _DTYPES[dtype])
    return WeightFile(path, "safetensors", tensors, metadata)


def _torch_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a file of torch, which may lie under "state_dict"."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of details of the format
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_archive(path))
    except _DAMAGED as error:
        raise ModelError(
            f"{path}: damaged, or it holds more than tensors, which could run code and is never loaded"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path}: it holds {type(content).__name__} and no state dict")
    odd = [key for key, value in content.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))]
    if odd:
        raise ModelError(f"{path}: a state dict has tensors by name, and {odd[0]!r} is none")
    return dict(content)


def _is_archive(path: Path) -> bool:
    """Whether it is torch's present format, a zip archive, which can be mapped."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _shape_of(path: Path, key: str, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise ModelError(f"{path}: {_checked(path, key)} is {tensor.dtype} ({tensor.layout}), no plain tensor")
    return _on_meta(path, _checked(path, key), tensor.shape, tensor.dtype)


def _on_meta(path: Path, key: str, shape: Iterable[int], dtype: torch.dtype) -> torch.Tensor:
    try:
        return torch.empty(tuple(shape), dtype=dtype, device="meta")
    except (RuntimeError, OverflowError) as error:
        raise ModelError(f"{path}: {key} has an impossible shape") from error


def _checked(path: Path, key: str) -> str:
    """The key, which will be shown in a terminal."""
    if not key.isprintable() or len(key) > _LONGEST_KEY:
        raise ModelError(f"{path}: {key[:40]!a} is no name of a tensor")
    return key


def precisions(tensors: Iterable[Any]) -> dict[str, int]:
    """How many numbers are stored in each format, most first: {"float32": 4, "float16": 2}."""
    found: dict[str, int] = {}
    for tensor in tensors:
        name = str(tensor.dtype).removeprefix("torch.")
        found[name] = found.get(name, 0) + tensor.numel()
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))
