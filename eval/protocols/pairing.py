"""Pairs of a sketch and a reference, and the seeded draws that every protocol makes them with.

Every pairing is a pure function of the sets of ids and the seed: hashes choose, the order of the ids does not matter,
so any machine makes the same table. It is saved with the scores, and two models are compared on equal pairs and noise.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO


@dataclass(frozen=True)
class Pair:
    """One colorization to make: a sketch, its reference and the seed of its noise.

    other_reference_id: the reference it must not resemble (known-answer only).
    """

    sketch_id: str
    reference_id: str
    seed: int
    other_reference_id: str | None = None


def draw(*parts: str | int) -> int:
    """A number in [0, 2^63) that only its parts decide."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:8]) >> 1


def noise_seed(seed: int, sketch_id: str) -> int:
    """31 bits, which every random generator takes."""
    return draw("noise", seed, sketch_id) >> 32


def _pick(candidates: Sequence[str], allowed: Callable[[str], bool], *key: str | int) -> str | None:
    """One allowed candidate, each equally likely; None when none is allowed."""
    for attempt in range(32 if candidates else 0):  # nearly always found here, without a look at every candidate
        choice = candidates[draw(*key, attempt) % len(candidates)]
        if allowed(choice):
            return choice
    remaining = [candidate for candidate in candidates if allowed(candidate)]
    return remaining[draw(*key, "remaining") % len(remaining)] if remaining else None


def group_of(row_id: str, groups: Mapping[str, str | None]) -> str:
    """A row without a group is a group of its own."""
    group = groups.get(row_id)
    return f"row:{row_id}" if group is None else f"group:{group}"


def of_other_group(
    candidates: Sequence[str], groups: Mapping[str, str | None], taken: Sequence[str], *key: str | int
) -> str | None:
    """One candidate that is of no group of `taken`, drawn by `key`; None where there is none."""
    used = {group_of(row_id, groups) for row_id in taken}
    return _pick(candidates, lambda row_id: group_of(row_id, groups) not in used, *key)


def to_parquet(pairs: Sequence[Pair]) -> bytes:
    """The pairing table as Parquet, in the given order."""
    import pyarrow as pa  # slow to import, and the table of protocols is read for every call of the command line
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            pa.field("sketch_id", pa.string(), nullable=False),
            pa.field("reference_id", pa.string(), nullable=False),
            pa.field("seed", pa.int64(), nullable=False),
            pa.field("other_reference_id", pa.string()),
        ]
    )
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(pair) for pair in pairs], schema=schema), buffer)
    return buffer.getvalue()


def from_parquet(data: bytes) -> list[Pair]:
    """The pairs of such a table, in its order."""
    import pyarrow.parquet as pq

    return [Pair(**row) for row in pq.read_table(BytesIO(data)).to_pylist()]
