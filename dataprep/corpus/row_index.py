"""Where each row of one split lies, as arrays: what a reader of six million rows holds from its first second.

44 bytes a row (0.26 GB for six million): the id as 32 bytes, the shard and the bucket as codes, the position.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.hashes import Hashes, unhex
from dataprep.corpus.snapshot import Snapshot

_COLUMNS = ("id", "split", "shard", "position", "bucket")


@dataclass(frozen=True, eq=False)
class RowIndex:
    """The rows of a split, sorted by id; `i` counts from 0. `shards` and `buckets` are sorted names."""

    ids: Hashes  # (N, 32)
    shards: tuple[str, ...]
    shard_codes: npt.NDArray[np.int32]  # (N,) into `shards`
    positions: npt.NDArray[np.int32]  # (N,) within the shard
    buckets: tuple[str, ...]
    bucket_codes: npt.NDArray[np.int32]  # (N,) into `buckets`

    @classmethod
    def open(cls, snapshot: Snapshot, split: str) -> "RowIndex":
        """The rows of `split`, none where the snapshot has no such split. DataError for a missing or damaged index."""
        shards, buckets = Names(), Names()
        ids, positions = [np.zeros((0, 32), np.uint8)], [np.zeros(0, np.int32)]
        for batch in _batches_of(snapshot, split):
            ids.append(unhex(batch["id"]))
            positions.append(batch["position"].to_numpy())
            shards.add(batch["shard"])
            buckets.add(batch["bucket"])
        return cls(np.concatenate(ids), *shards.coded(), np.concatenate(positions), *buckets.coded())

    def __len__(self) -> int:
        return len(self.ids)

    def id(self, i: int) -> str:
        """64 hex digits."""
        return self.ids[i].tobytes().hex()

    def shard(self, i: int) -> str:
        return self.shards[self.shard_codes[i]]

    def position(self, i: int) -> int:
        """The row's place in each file of its shard."""
        return int(self.positions[i])

    def bucket(self, i: int) -> str:
        return self.buckets[self.bucket_codes[i]]

    def rows_of_bucket(self, bucket: str) -> npt.NDArray[np.intp]:
        """The numbers of a bucket's rows, rising. ValueError where the split has no such bucket."""
        return np.flatnonzero(self.bucket_codes == self.buckets.index(bucket))


def _batches_of(snapshot: Snapshot, split: str) -> Iterator[pa.RecordBatch]:
    for batch in snapshot.batches("index", _COLUMNS):
        yield batch.filter(pc.equal(batch["split"], split))


class Names:
    """Names as codes, batch after batch."""

    def __init__(self) -> None:
        self._code_of: dict[str, int] = {}
        self._codes = [np.zeros(0, np.int32)]

    def add(self, names: pa.StringArray) -> None:
        encoded = names.dictionary_encode()
        codes = [self._code_of.setdefault(name, len(self._code_of)) for name in encoded.dictionary.to_pylist()]
        self._codes.append(np.array(codes, np.int32)[encoded.indices.to_numpy()])

    def coded(self) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
        """The names, sorted, and the code of each row."""
        names = sorted(self._code_of)
        rank = np.empty(len(names), np.int32)
        rank[[self._code_of[name] for name in names]] = np.arange(len(names))
        return tuple(names), rank[np.concatenate(self._codes)]
