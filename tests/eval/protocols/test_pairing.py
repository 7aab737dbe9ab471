"""The pairing table as it is saved."""

from io import BytesIO

import pyarrow.parquet as pq

from eval.protocols.known_answer import known_answer
from eval.protocols.pairing import Pair, to_parquet
from eval.protocols.self_reference import self_reference


def test_the_pairing_table_survives_parquet() -> None:
    pairs = [*known_answer({row_id: row_id for row_id in "abcdef"}, seed=0, count=4), *self_reference("ab", seed=0)]
    rows = pq.read_table(BytesIO(to_parquet(pairs))).to_pylist()
    assert [Pair(**row) for row in rows] == pairs
