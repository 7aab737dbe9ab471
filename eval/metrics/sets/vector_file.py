"""Feature vectors that are read again after the last has come: kept in a file, since they may be more than fits."""

import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHUNK = 2048  # vectors that are read at a time


class VectorFile:
    """Vectors (N, dims) as float32, which networks compute in; the file is gone with the object."""

    def __init__(self) -> None:
        self._file, self._dims, self._count = tempfile.TemporaryFile(), 0, 0  # noqa: SIM115 (closed with the object)
        weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        return self._count

    def append(self, vectors: ArrayLike) -> None:
        """Add (n, dims). Raises ValueError for vectors of another length."""
        added = np.ascontiguousarray(vectors, np.float32)
        if self._count and added.shape[1] != self._dims:
            raise ValueError(f"vectors of {added.shape[1]} numbers beside others of {self._dims}")
        self._dims, self._count = added.shape[1], self._count + len(added)
        self._file.write(added.tobytes())

    def chunks(self, size: int = CHUNK) -> Iterator[NDArray[np.float64]]:
        """All vectors in their order, at most `size` at a time."""
        for start in range(0, self._count, size):
            rows = min(size, self._count - start)
            self._file.seek(start * self._dims * 4)
            data = self._file.read(rows * self._dims * 4)
            yield np.frombuffer(data, np.float32).reshape(rows, self._dims).astype(np.float64)
        self._file.seek(0, 2)
