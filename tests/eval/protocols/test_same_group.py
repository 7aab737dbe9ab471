"""References of the same group: another member, drawn evenly by the seed, and never the sketch itself."""

from collections import Counter

import pytest

from eval.errors import EvalError
from eval.protocols.same_group import same_group

GROUPS: dict[str, str | None] = {f"{index:02d}": f"story {index // 4}" for index in range(12)}


def test_every_sketch_gets_another_picture_of_its_group() -> None:
    pairs = same_group(GROUPS, seed=0)
    assert [pair.sketch_id for pair in pairs] == sorted(GROUPS)
    for pair in pairs:
        assert pair.reference_id != pair.sketch_id
        assert GROUPS[pair.reference_id] == GROUPS[pair.sketch_id]
    assert same_group(dict(reversed(GROUPS.items())), seed=0) == pairs
    assert same_group(GROUPS, seed=1) != pairs


def test_references_are_drawn_evenly() -> None:
    drawn = Counter(
        pair.reference_id for seed in range(300) for pair in same_group(GROUPS, seed) if pair.sketch_id == "05"
    )
    assert drawn.keys() == {"04", "06", "07"}
    assert all(70 < times < 130 for times in drawn.values())  # 100 expected, standard deviation 8


def test_rows_alone_or_without_a_group_have_no_pair_and_none_at_all_is_refused() -> None:
    groups = {"a": "x", "b": None, "c": "y", "d": "y", "e": None}
    assert {(pair.sketch_id, pair.reference_id) for pair in same_group(groups, 0)} == {("c", "d"), ("d", "c")}
    with pytest.raises(EvalError, match="no group of this corpus has two held-out pictures"):
        same_group({"a": "x", "b": None, "c": "y"}, 0)
