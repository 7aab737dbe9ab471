"""Pairs that a person gives, and references drawn as the papers draw them."""

from collections import Counter

import pytest

from eval.errors import EvalError
from eval.protocols.pairing import Pair, noise_seed, to_parquet
from eval.protocols.uniform_reference import uniform_reference
from eval.protocols.user_pairs import USER_PAIRS, read_pairs

IDS = ["aaaaaa11", "aaaaaa12", "bbbbbb99", "cccccc"]


def test_pairs_come_in_the_order_of_the_file_with_their_seeds() -> None:
    data = b"\xef\xbb\xbfreference,sketch,seed\nbbbbbb99,aaaaaa11,7\naaaaaa12,bbbbbb,\naaaaaa11,cccccc,\n"
    assert read_pairs(data, IDS, 3) == [
        Pair("aaaaaa11", "bbbbbb99", 7),
        Pair("bbbbbb99", "aaaaaa12", noise_seed(3, "bbbbbb99")),
        Pair("cccccc", "aaaaaa11", noise_seed(3, "cccccc")),
    ]


def test_the_pairing_table_of_another_evaluation_is_taken_with_its_seeds() -> None:
    pairs = [Pair("aaaaaa11", "bbbbbb99", 5), Pair("cccccc", "aaaaaa12", 6)]
    assert read_pairs(to_parquet(pairs), IDS, 0) == pairs
    with pytest.raises(EvalError, match="pair 1: no held-out row is called 'bbbbbb99'"):
        read_pairs(to_parquet(pairs), ["aaaaaa11", "aaaaaa12", "cccccc"], 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sketch,reference\naaaaaa,cccccc\n", "line 2: several held-out rows begin with 'aaaaaa'"),
        ("sketch,reference\ncccccc,dddddd\n", "line 2: no held-out row is called 'dddddd'"),
        ("sketch,reference\ncccccc,ccc\n", "line 2: no held-out row is called 'ccc'; an id has at least 6"),
        ("sketch,reference\ncccccc\n", "line 2: no held-out row is called ''"),
        ("sketch,reference,seed\ncccccc,bbbbbb,-1\n", "line 2: a seed is a number below 2"),
        ("sketch,reference\n", "there are no pairs"),
        ("sketch,color\na,b\n", "the columns sketch, reference and perhaps seed, not color, sketch"),
        ("", "the columns sketch, reference and perhaps seed, not "),
        ("\xff\xfe", "neither CSV nor Parquet"),
    ],
)
def test_a_line_that_is_no_pair_is_named(text: str, said: str) -> None:
    with pytest.raises(EvalError, match=said):
        read_pairs(text.encode("latin-1"), IDS, 0)


@pytest.mark.parametrize("data", [b"PAR1 and no more", to_parquet([])])
def test_a_parquet_file_of_something_else_or_nothing_is_refused(data: bytes) -> None:
    with pytest.raises(EvalError, match=r"no pairs.parquet|no pairs in the file"):
        read_pairs(data, IDS, 0)


def test_without_a_file_it_says_what_it_needs() -> None:
    with pytest.raises(EvalError, match="give --pairs FILE"):
        USER_PAIRS.pairs(Rows(), 0, None)


class Rows:
    ids = IDS

    def facts(self) -> list[dict[str, object]]:
        return []


def test_uniform_references_are_any_other_row_each_about_as_often() -> None:
    ids = [f"{number:03d}" for number in range(50)]
    pairs = [pair for seed in range(40) for pair in uniform_reference(ids, seed)]
    assert all(pair.sketch_id != pair.reference_id for pair in pairs)
    assert [pair.sketch_id for pair in pairs[:50]] == ids
    often = Counter(pair.reference_id for pair in pairs)
    assert len(often) == 50
    assert max(often.values()) < 80
    assert uniform_reference(ids[::-1], 3) == uniform_reference(ids, 3)
    with pytest.raises(EvalError, match="two held-out rows"):
        uniform_reference(["only"], 0)
