"""Random references: seeded, independent of order, never related, evenly drawn."""

from collections import Counter

import pytest

from eval.errors import EvalError
from eval.protocols.random_reference import random_reference

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
