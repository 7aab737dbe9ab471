"""Couples of a sketch with two references: balanced, of three groups, every sketch before any again."""

from typing import Any

import pytest

from eval.errors import EvalError
from eval.protocols.known_answer import KNOWN_ANSWER, known_answer
from eval.protocols.pairing import Pair

IDS = [f"{index:03d}" for index in range(60)]
GROUPS = {row_id: f"character {int(row_id) // 4}" for row_id in IDS}


def test_each_sketch_is_asked_for_two_references_both_ways() -> None:
    pairs = known_answer(GROUPS, seed=0, count=60)
    for own, other in zip(pairs[::2], pairs[1::2], strict=True):
        assert other == Pair(own.sketch_id, own.other_reference_id or "", own.seed, own.reference_id)
        assert len({GROUPS[i] for i in (own.sketch_id, own.reference_id, other.reference_id)}) == 3


def test_every_sketch_is_used_before_any_again_and_then_in_other_couples() -> None:
    pairs = known_answer(GROUPS, seed=0, count=240)
    assert len({pair.sketch_id for pair in pairs[:120]}) == 60
    assert len(set(pairs)) == 240


def test_pairs_do_not_depend_on_the_order_of_the_rows() -> None:
    assert known_answer(dict(reversed(GROUPS.items())), 0, 40) == known_answer(GROUPS, 0, 40)


def test_odd_counts_and_too_few_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        known_answer(GROUPS, seed=0, count=3)
    with pytest.raises(EvalError, match="three groups"):
        known_answer({"a": None, "b": "x", "c": "x"}, seed=0, count=2)


class Photographs:
    """Held-out rows, none of which is assembled."""

    ids = ("a", "b")

    def facts(self) -> list[dict[str, Any]]:
        return [{"id": name, "group": None, "assembly": None, "tags": []} for name in self.ids]


def test_a_corpus_without_assembled_drawings_is_told_where_it_applies_and_what_to_take() -> None:
    with pytest.raises(EvalError, match=r"corpora with assembled drawings.*--protocol deformed-reference"):
        KNOWN_ANSWER.pairs(Photographs(), 0, None)
