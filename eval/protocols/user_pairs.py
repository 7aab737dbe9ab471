"""Pairs that a person chose: a table of sketches and references, by the ids of held-out rows.

The file is CSV with the columns `sketch` and `reference`, and if wanted `seed` (a `name` is read over); an id may be
cut to its beginning while that is one row's alone. The pairing table of another evaluation (`pairs.parquet`) is taken
too, with its seeds.
"""

import csv
from bisect import bisect_left
from collections.abc import Sequence
from io import StringIO

from eval.errors import EvalError
from eval.protocols.pairing import Pair, from_parquet, noise_seed
from eval.protocols.protocol import CorpusRows, EvaluationProtocol, whole_reference

SHORTEST = 6  # characters of an id that is cut
_COLUMNS, _OPTIONAL = {"sketch", "reference"}, {"seed", "name"}


def read_pairs(data: bytes, ids: Sequence[str], seed: int) -> list[Pair]:
    """The pairs of a file, in its order; ids: of all held-out rows, sorted.

    Raises EvalError that names the line that cannot be read, or is of no held-out row.
    """
    if data.startswith(b"PAR1"):
        pairs = _of_parquet(data)
        for number, pair in enumerate(pairs, 1):
            for row_id in (pair.sketch_id, pair.reference_id):
                _found(row_id, ids, f"pair {number}")
        return pairs
    try:
        table = csv.DictReader(StringIO(data.decode("utf-8-sig")), strict=True)
        columns, rows = set(table.fieldnames or ()), list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise EvalError(f"the pairs are neither CSV nor Parquet ({error})") from error
    if not _COLUMNS <= columns <= _COLUMNS | _OPTIONAL:
        raise EvalError(f"pairs have the columns sketch, reference and perhaps seed, not {', '.join(sorted(columns))}")
    if not rows:
        raise EvalError("there are no pairs in the file")
    pairs = []
    for number, row in enumerate(rows, 2):
        where = f"line {number}"
        sketch, reference = (_found(row[name] or "", ids, where) for name in ("sketch", "reference"))
        text = row.get("seed") or ""
        if text and not (text.isdecimal() and int(text) < 2**31):
            raise EvalError(f"{where}: a seed is a number below 2^31, not {text!r}")
        pairs.append(Pair(sketch, reference, int(text) if text else noise_seed(seed, sketch)))
    return pairs


def _of_parquet(data: bytes) -> list[Pair]:
    import pyarrow as pa  # slow to import, and the table of protocols is read for every call of the command line

    try:
        pairs = from_parquet(data)
    except (pa.ArrowException, TypeError) as error:
        raise EvalError("the Parquet file is damaged, or no pairs.parquet of an evaluation") from error
    if not pairs:
        raise EvalError("there are no pairs in the file")
    return pairs


def _found(text: str, ids: Sequence[str], where: str) -> str:
    """The id that begins so. Raises EvalError where none does, or several do."""
    place = bisect_left(ids, text)
    beginning = [row_id for row_id in ids[place : place + 2] if row_id.startswith(text)]
    if len(text) < SHORTEST or not beginning:
        raise EvalError(f"{where}: no held-out row is called {text!r}; an id has at least {SHORTEST} characters")
    if len(beginning) > 1 and beginning[0] != text:
        raise EvalError(f"{where}: several held-out rows begin with {text!r}; write more of the id")
    return beginning[0]


def _pairs(rows: CorpusRows, seed: int, limit: int | None) -> list[Pair]:
    raise EvalError("user-pairs needs its pairs: give --pairs FILE (columns sketch and reference, by the ids of rows)")


USER_PAIRS = EvaluationProtocol(
    name="user-pairs",
    pairs=_pairs,
    prepare=whole_reference,
    gives=(),
    metrics=("fid_efficientnet_lite0_320",),
    truth_note="the original picture; no one answer is right here",
    source="ours",
)
