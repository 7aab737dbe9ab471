"""Pickled dictionaries of NumPy arrays, read without running anything: only what an array is made of can be named."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import ModelError

_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # the name until NumPy 2, and since
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
}
_DAMAGED = (
    *(pickle.UnpicklingError, EOFError, OSError, ImportError, MemoryError),
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
)


class _ArraysAlone(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no part of an array")
        return _ALLOWED[module, name]


def read_arrays(path: Path) -> dict[str, Any]:
    """Name -> array of numbers, or a dictionary of such again. Raises ModelError for anything else in the file."""
    try:
        with path.open("rb") as file:
            content = _ArraysAlone(file).load()
    except _DAMAGED as error:
        raise ModelError(
            f"{path.name}: damaged, or it holds more than arrays, which is never loaded ({error})"
        ) from error
    _check(content, path.name)
    arrays: dict[str, Any] = content
    return arrays


def _check(content: Any, name: str) -> None:
    if isinstance(content, Mapping):
        for key, inner in content.items():
            _check(inner, f"{name}: {key}")
    elif not isinstance(content, np.ndarray) or content.dtype.kind not in "fiu":
        raise ModelError(f"{name} is no array of numbers")
