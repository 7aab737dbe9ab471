"""Pairings: seeded, independent of order, never related, balanced."""

from collections import Counter

import pytest

from eval.errors import EvalError
from eval.protocols import (
    Pair,
    deformed_reference,
    from_parquet,
    known_answer,
    random_reference,
    self_reference,
    to_parquet,
)

IDS = [f"{index:03d}" for index in range(60)]
GROUPS = {row_id: f"character {int(row_id) // 4}" for row_id in IDS}


def test_every_sketch_gets_one_reference_of_another_group() -> None:
    pairs = random_reference(IDS, IDS, seed=0, groups=GROUPS)
    assert [pair.sketch_id for pair in pairs] == IDS
    assert all(GROUPS[pair.sketch_id] != GROUPS[pair.reference_id] for pair in pairs)


def test_rows_without_a_group_are_only_kept_from_themselves() -> None:
    assert {(p.sketch_id, p.reference_id) for p in random_reference("ab", "ab", seed=0)} == {("a", "b"), ("b", "a")}


def test_pairs_do_not_depend_on_the_order_of_the_ids_but_on_the_seed() -> None:
    pairs = random_reference(IDS, IDS, seed=0, groups=GROUPS)
    assert random_reference(IDS[::-1], set(IDS), seed=0, groups=GROUPS) == pairs
    assert random_reference(IDS, IDS, seed=1, groups=GROUPS) != pairs
    assert known_answer(dict(reversed(GROUPS.items())), 0, 40) == known_answer(GROUPS, 0, 40)


def test_leaving_sketches_out_leaves_the_other_pairs_alone() -> None:
    pairs = random_reference(IDS, IDS, seed=3, groups=GROUPS)
    assert random_reference(IDS[10:20], IDS, seed=3, groups=GROUPS) == pairs[10:20]


def test_references_are_drawn_evenly() -> None:
    drawn = Counter(p.reference_id for s in range(100) for p in random_reference(IDS, IDS, seed=s, groups=GROUPS))
    assert len(drawn) == 60
    assert all(60 < times < 150 for times in drawn.values())  # 100 expected, standard deviation 10


def test_a_sketch_with_only_relatives_is_refused() -> None:
    with pytest.raises(EvalError, match="no reference outside its own group"):
        random_reference(["a"], ["a", "b"], seed=0, groups={"a": "x", "b": "x"})


def test_self_and_deformed_references_are_the_pictures_own() -> None:
    for pairs in (self_reference(IDS, seed=4), deformed_reference(IDS, seed=4)):
        assert all(pair.sketch_id == pair.reference_id for pair in pairs)
        assert len({pair.seed for pair in pairs}) == 60
        assert all(0 <= pair.seed < 2**31 for pair in pairs)


def test_known_answer_asks_each_sketch_for_two_references_both_ways() -> None:
    pairs = known_answer(GROUPS, seed=0, count=60)
    for own, other in zip(pairs[::2], pairs[1::2], strict=True):
        assert other == Pair(own.sketch_id, own.other_reference_id or "", own.seed, own.reference_id)
        assert len({GROUPS[i] for i in (own.sketch_id, own.reference_id, other.reference_id)}) == 3


def test_known_answer_uses_every_sketch_before_any_again_and_then_other_couples() -> None:
    pairs = known_answer(GROUPS, seed=0, count=240)
    assert len({pair.sketch_id for pair in pairs[:120]}) == 60
    assert len(set(pairs)) == 240


def test_known_answer_refuses_odd_counts_and_too_few_groups() -> None:
    with pytest.raises(ValueError, match="even"):
        known_answer(GROUPS, seed=0, count=3)
    with pytest.raises(EvalError, match="three groups"):
        known_answer({"a": None, "b": "x", "c": "x"}, seed=0, count=2)


def test_the_pairing_table_survives_parquet() -> None:
    pairs = [*known_answer(GROUPS, seed=0, count=4), *self_reference(IDS[:2], seed=0)]
    assert from_parquet(to_parquet(pairs)) == pairs


def test_other_data_are_no_pairing_table() -> None:
    with pytest.raises(EvalError, match="not a pairing table"):
        from_parquet(b"PAR? no")
