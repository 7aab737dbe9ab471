"""Own references, as they are and deformed: the pictures' own, each with noise of its own."""

from collections.abc import Callable

import pytest

from eval.protocols.deformed_reference import deformed_reference
from eval.protocols.pairing import Pair
from eval.protocols.self_reference import self_reference

IDS = [f"{index:03d}" for index in range(60)]


@pytest.mark.parametrize("pairing", [self_reference, deformed_reference])
def test_references_are_the_pictures_own_with_seeds_of_31_bits(pairing: Callable[..., list[Pair]]) -> None:
    pairs = pairing(IDS, seed=4)
    assert all(pair.sketch_id == pair.reference_id for pair in pairs)
    assert len({pair.seed for pair in pairs}) == 60
    assert all(0 <= pair.seed < 2**31 for pair in pairs)
