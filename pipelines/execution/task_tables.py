"""Tables that tasks read their rows from, so that a task is a reference and not its data.

A corpus of six million pictures has some 23,000 shards. Handed over as values, their rows would pass through the driver
and Ray's object store as JSON; written once, each worker reads the one row group that is its own. A file holds at most
64 row groups, so that its footer, which every reader of it fetches, stays small. These are working files: of no use
once the build has ended, however it ended.
"""

import io
from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.storage import store as storage

GROUPS_PER_FILE = 64


def write_groups(folder: str, tables: Iterable[pa.Table]) -> Iterator[tuple[str, int]]:
    """Write each table (of one schema, with rows) as one row group; gives (address, row group) in their order."""
    rest = iter(tables)
    for number, first in enumerate(rest):
        uri = storage.join(folder, f"{number}.parquet")
        data, groups = _file(first, islice(rest, GROUPS_PER_FILE - 1))
        storage.write_whole(uri, data)
        yield from ((uri, group) for group in range(groups))


def read_group(uri: str, group: int) -> pa.Table:
    """The rows of one row group, and no more of the file. Raises DataError where they are not there."""

    def read() -> pa.Table:
        filesystem, path = storage.arrow_filesystem(uri)
        with filesystem.open_input_file(path) as file:
            return pq.ParquetFile(file).read_row_group(group)

    return storage.patiently(uri, read)


def _file(first: pa.Table, others: Iterable[pa.Table]) -> tuple[bytes, int]:
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, first.schema, compression="zstd") as writer:
        writer.write_table(first, row_group_size=len(first))
        groups = 1
        for table in others:
            writer.write_table(table, row_group_size=len(table))
            groups += 1
    return sink.getvalue(), groups
