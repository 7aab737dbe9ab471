"""Small steps on Arrow columns that several parts of the corpus take."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Flags = npt.NDArray[np.bool_]


def with_tag(tags: pa.ListArray, names: tuple[str, ...]) -> Flags:
    """Which lists, (N,), hold at least one of the names."""
    found = np.zeros(len(tags), bool)
    hits = pc.is_in(tags.flatten(), pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
    found[pc.list_parent_indices(tags).to_numpy()[hits]] = True
    return found


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; an empty one too."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
