"""Protocols: which sketch meets which reference, with which seed (design 6; thesis 3.3, 5.7).

Every pairing is a pure function of the sets of ids and the seed: hashes choose, the order of the ids does not matter,
so any machine makes the same table. It is saved with the scores, and two models are compared on equal pairs and noise.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from eval.errors import EvalError

PAIR_SCHEMA = pa.schema(
    [
        pa.field("sketch_id", pa.string(), nullable=False),
        pa.field("reference_id", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("other_reference_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class Pair:
    """One colorization to make: a sketch, its reference and the seed of its noise.

    other_reference_id: the reference it must not resemble (known-answer only).
    """

    sketch_id: str
    reference_id: str
    seed: int
    other_reference_id: str | None = None


def _draw(*parts: str | int) -> int:
    """A number in [0, 2^63) that only its parts decide."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:8]) >> 1


def _noise_seed(seed: int, sketch_id: str) -> int:
    """31 bits, which every random generator takes."""
    return _draw("noise", seed, sketch_id) >> 32


def _pick(candidates: Sequence[str], allowed: Callable[[str], bool], *key: str | int) -> str | None:
    """One allowed candidate, each equally likely; None when none is allowed."""
    for attempt in range(32 if candidates else 0):  # nearly always found here, without a look at every candidate
        choice = candidates[_draw(*key, attempt) % len(candidates)]
        if allowed(choice):
            return choice
    remaining = [candidate for candidate in candidates if allowed(candidate)]
    return remaining[_draw(*key, "remaining") % len(remaining)] if remaining else None


def _group(row_id: str, groups: Mapping[str, str | None]) -> str:
    """A row without a group is a group of its own."""
    group = groups.get(row_id)
    return f"row:{row_id}" if group is None else f"group:{group}"


def _of_other_group(
    candidates: Sequence[str], groups: Mapping[str, str | None], taken: Sequence[str], *key: str | int
) -> str | None:
    used = {_group(row_id, groups) for row_id in taken}
    return _pick(candidates, lambda row_id: _group(row_id, groups) not in used, *key)


def random_reference(
    sketch_ids: Collection[str],
    reference_ids: Collection[str],
    seed: int,
    groups: Mapping[str, str | None] | None = None,
) -> list[Pair]:
    """Every sketch with one seeded random reference, never itself nor a row of its own group (id -> group).

    Sorted by sketch. Raises EvalError when a sketch has no reference that it may take.
    """
    groups = groups or {}
    references = sorted(set(reference_ids))
    pairs = []
    for sketch_id in sorted(set(sketch_ids)):
        reference_id = _of_other_group(references, groups, [sketch_id], "random", seed, sketch_id)
        if reference_id is None:
            raise EvalError(
                f"sketch {sketch_id[:12]} has no reference outside its own group; add pictures to the corpus"
            )
        pairs.append(Pair(sketch_id, reference_id, _noise_seed(seed, sketch_id)))
    return pairs


def self_reference(ids: Collection[str], seed: int) -> list[Pair]:
    """Every sketch with its own picture as the reference, sorted by id."""
    return [Pair(row_id, row_id, _noise_seed(seed, row_id)) for row_id in sorted(set(ids))]


def deformed_reference(ids: Collection[str], seed: int) -> list[Pair]:
    """Every sketch with its own picture, to be warped with the pair's seed, as the reference; sorted by id."""
    return self_reference(ids, seed)


def known_answer(groups: Mapping[str, str | None], seed: int, count: int) -> list[Pair]:
    """`count` pairs of unrelated pictures, in couples: sketch A with B (other: C), then A with C (other: B).

    A, B and C are of three groups (groups: id -> group). Both of a couple share one noise seed: a model that ignores
    its reference then draws the same picture twice and is right exactly once, a share of exactly one half. Every sketch
    is used once before any is used again. Raises ValueError for an odd count, EvalError for fewer than three groups.
    """
    if count < 2 or count % 2:
        raise ValueError(f"known-answer pairs come in couples: count must be even and positive, not {count}")
    ids = sorted(groups)
    if len({_group(row_id, groups) for row_id in ids}) < 3:
        raise EvalError("known-answer needs pictures of at least three groups; add assembled pictures to the corpus")
    sketches = sorted(ids, key=lambda row_id: _draw("order", seed, row_id))
    pairs: list[Pair] = []
    for couple in range(count // 2):
        turn, index = divmod(couple, len(sketches))
        a = sketches[index]
        b = _of_other_group(ids, groups, [a], "first", seed, a, turn)
        c = _of_other_group(ids, groups, [a, b or a], "second", seed, a, turn)
        assert b is not None, "there are three groups or more"
        assert c is not None, "there are three groups or more"
        noise = _noise_seed(seed, f"{a}:{turn}")
        pairs += [Pair(a, b, noise, c), Pair(a, c, noise, b)]
    return pairs


def to_parquet(pairs: Sequence[Pair]) -> bytes:
    """The pairing table as Parquet, in the given order."""
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(pair) for pair in pairs], schema=PAIR_SCHEMA), buffer)
    return buffer.getvalue()


def from_parquet(data: bytes) -> list[Pair]:
    """Read a pairing table. Raises EvalError when the data are not one."""
    try:
        table = pq.read_table(BytesIO(data))
    except pa.ArrowInvalid as error:
        raise EvalError(f"not a pairing table: {str(error).splitlines()[0]}") from error
    missing = {field.name for field in fields(Pair)} - set(table.column_names)
    if missing:
        raise EvalError(f"not a pairing table: it has no column {', '.join(sorted(missing))}")
    return [Pair(**row) for row in table.select(PAIR_SCHEMA.names).to_pylist()]
