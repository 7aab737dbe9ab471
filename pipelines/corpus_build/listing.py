"""The listing of a build: every item of the sources, gone through once and kept on the driver's disk, not in memory.

Six million items with their tags are some 4 GB as tables. The driver keeps their keys (0.2 GB) and reads the rest back
batch by batch, in order, as often as a phase needs it.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.schema import LISTING_SCHEMA
from dataprep.sources.left_out import Left
from dataprep.sources.listing import list_batches
from dataprep.sources.notes import Notes
from pipelines.common.progress import Progress, ProgressSink
from pipelines.recipes.build_recipe import BuildRecipe


class Listing:
    """The items of the sources in order, each key once (schema.LISTING_SCHEMA)."""

    def __init__(self, path: str, keys: pa.ChunkedArray, counts: Mapping[str, int], notes: Notes | None = None) -> None:
        self._path = path
        self.left = Left.of(counts)
        self.notes = Notes() if notes is None else notes
        first = pc.index_in(pc.unique(keys), keys)  # a key that comes again is the same item under the same name
        self._is_first: npt.NDArray[np.bool_] = np.zeros(len(keys), bool)
        self._is_first[first.to_numpy()] = True
        self.keys = keys.filter(pa.array(self._is_first))

    def __len__(self) -> int:
        return len(self.keys)

    def counted(self) -> dict[str, Any]:
        """What a build reports of it, and a snapshot records, JSON-able."""
        return {"pictures": len(self), **asdict(self.left)}

    def batches(self) -> Iterator[pa.Table]:
        """All items again, a piece at a time."""
        done = 0
        with pa.OSFile(self._path) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                is_first = self._is_first[done : done + len(batch)]
                done += len(batch)
                yield pa.table(batch).filter(pa.array(is_first))


@contextmanager
def list_sources(
    sources: Iterable[str], recipe: BuildRecipe, limit: int | None, progress: ProgressSink
) -> Iterator[Listing]:
    """The first `limit` items of the sources. The listing is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="irodori-listing-") as folder:
        path = os.path.join(folder, "items.arrow")
        keys, counts, notes = [pa.array([], pa.string())], Counter[str](), Notes()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, LISTING_SCHEMA, options=options) as stream:
            listed = (list_batches(source, recipe.select, counts, notes) for source in sources)
            for table in _first(chain.from_iterable(listed), limit):
                stream.write_table(table)
                keys.append(table["key"].combine_chunks())
        listing = Listing(path, pa.chunked_array(keys), counts, notes)
        progress(Progress("list pictures", len(listing), len(listing), "pictures"))
        yield listing


def _first(tables: Iterable[pa.Table], limit: int | None) -> Iterator[pa.Table]:
    """The first `limit` rows of the tables, and no table more than that needs."""
    for table in tables:
        yield table if limit is None else table.slice(0, limit)
        if limit is not None:
            limit -= len(table)
            if limit <= 0:
                return
