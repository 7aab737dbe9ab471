"""The parts of an evaluation: consecutive pairs and what was measured of them, each a file that is written whole.

How long a part is follows from the number of pairs alone, and batches begin anew with each part. So a part is the same
file whoever writes it, and an evaluation that was stopped goes on with the parts that are not there.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.documents import parse_document
from dataprep.errors import DataError
from dataprep.storage.store import exists, join, list_files, read_bytes, remove, write_whole
from eval.metrics.metric import Columns
from eval.protocols.pairing import Pair
from pipelines.common.errors import PipelineError
from pipelines.evaluation.scoring.pair_scorer import THUMBNAIL, PairResult

BATCH = 8  # pairs that are coloured together
MOST = 64  # pairs of a part
FEWEST_PARTS = 8  # of an evaluation that has so many batches, so that workers share it out
TRIES = 5  # workers that may end in one part
FOLDER, ENDING, TRIED = "parts", ".parquet", ".tries"
COLUMNS = b"columns"  # of the file's metadata: metric -> its columns
VECTORS = b"vectors"  # of the file's metadata: the columns that are views


class Measured(NamedTuple):
    """What some pairs were measured to be: metric -> column -> float64 (N,); view -> float32 (N, dims)."""

    columns: Mapping[str, Columns]
    vectors: Columns


def split(pairs: int) -> list[range]:
    """The pairs of each part, by their places in the pairing."""
    size = min(MOST, BATCH * math.ceil(pairs / BATCH / FEWEST_PARTS))
    return [range(start, min(start + size, pairs)) for start in range(0, pairs, size)]


def part_uri(out: str, number: int) -> str:
    """Where the part lies."""
    return join(out, FOLDER, f"{number:06d}{ENDING}")


def parts_there(out: str) -> set[int]:
    """The parts that are whole."""
    names = [entry.uri.rpartition("/")[2] for entry in list_files(join(out, FOLDER))]
    return {int(name.removesuffix(ENDING)) for name in names if name.endswith(ENDING)}


def part_table(pairs: Sequence[Pair], results: Sequence[PairResult]) -> pa.Table:
    """One row for each pair, with what was measured. Raises EvalError where two metrics name a column alike."""
    rows = [asdict(pair) | result.row for pair, result in zip(pairs, results, strict=True)]
    columns = {metric: list(values) for metric, values in results[0].measured.items()}
    named = {COLUMNS: json.dumps(columns).encode(), VECTORS: json.dumps(list(results[0].vectors)).encode()}
    return pa.Table.from_pylist(rows).replace_schema_metadata(named)


def write_part(uri: str, pairs: Sequence[Pair], results: Sequence[PairResult]) -> None:
    """Write the table of a part."""
    write_table(uri, part_table(pairs, results))


def write_table(uri: str, part: pa.Table) -> None:
    """Write it whole."""
    data = BytesIO()
    pq.write_table(part, data, compression="zstd")
    write_whole(uri, data.getvalue())


def read_part(uri: str) -> pa.Table:
    """One row for each of its pairs. Raises DataError that names a file that cannot be read."""
    try:
        return pq.read_table(BytesIO(read_bytes(uri)))
    except pa.ArrowException as error:
        raise DataError(f"{uri} is damaged; delete it, and the same command makes it again") from error


def measured(part: pa.Table) -> Measured:
    """What its pairs were measured to be."""
    named = parse_document(part.schema.metadata[COLUMNS], dict[str, list[str]], "the columns of a part")
    columns = {metric: {name: _numbers(part[name]) for name in names} for metric, names in named.items()}
    return Measured(columns, {name: vectors_of(part[name]) for name in vector_names(part)})


def vector_names(part: pa.Table) -> list[str]:
    """The views whose vectors it holds."""
    return parse_document(part.schema.metadata[VECTORS], list[str], "the vectors of a part")


def without_vectors(part: pa.Table) -> pa.Table:
    """Its columns that hold neither features nor small pictures."""
    vectors = vector_names(part)
    return part.select([name for name in part.column_names if name not in vectors and not name.endswith(THUMBNAIL)])


def vectors_of(column: pa.ChunkedArray) -> np.ndarray:
    """A column of vectors as float32 (N, dims)."""
    values = column.combine_chunks()
    return np.asarray(values.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(len(values), -1)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False), np.float64)


# ---- parts that end their workers -----------------------------------------------------------------------------------


def begin(uri: str) -> None:
    """Note that a worker begins with a part. Raises PipelineError where it has ended too many of them: an engine tries
    a task whose worker is lost without bound."""
    note = uri + TRIED
    tries = int(read_bytes(note)) if exists(note) else 0
    if tries >= TRIES:
        raise PipelineError(
            f"{tries} workers ended while they measured {uri.rpartition('/')[2]}: is there too little memory?"
        )
    write_whole(note, str(tries + 1).encode())


def forget_tries(out: str) -> None:
    """What an earlier call noted says nothing of this one."""
    for entry in list_files(join(out, FOLDER)):
        if entry.uri.endswith(TRIED):
            remove(entry.uri)
