"""Hashes as bytes are the hashes as text, in the same order."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from dataprep.corpus.hashes import find, first_equals, rising, to_hex, unhex

HEXES = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(1000)]


def test_bytes_are_those_of_the_text_and_print_as_it() -> None:
    packed = unhex(pa.array(HEXES))
    assert [row.tobytes() for row in packed] == [bytes.fromhex(text) for text in HEXES]
    assert to_hex(packed).to_pylist() == HEXES


def test_slices_chunks_and_nulls_keep_their_places() -> None:
    chunked = pa.chunked_array([pa.array([None, *HEXES[:5]]).slice(1, 3), pa.array([], pa.string()), [None, HEXES[9]]])
    expected = [*HEXES[:3], "00" * 32, HEXES[9]]
    assert to_hex(unhex(chunked)).to_pylist() == expected


def test_nothing_is_nothing() -> None:
    assert unhex(pa.chunked_array([], pa.string())).shape == (0, 32)
    assert to_hex(np.zeros((0, 32), np.uint8)).to_pylist() == []


@pytest.mark.parametrize("bad", ["ab", "g" * 64, HEXES[0] + "0"])
def test_what_is_no_hash_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)hex"):
        unhex(pa.array([HEXES[0], bad]))


def test_the_order_is_that_of_the_text_even_where_only_the_last_digit_differs() -> None:
    texts = [f"{number:064x}" for number in (5, 3, 16**40, 3, 16**63 * 15)] + HEXES
    order = rising(unhex(pa.array(texts)))
    assert order.tolist() == sorted(range(len(texts)), key=lambda row: texts[row])


def test_equal_hashes_stay_in_order_and_name_the_first() -> None:
    texts = [HEXES[number] for number in (3, 1, 3, 2, 1, 3)]
    hashes = unhex(pa.array(texts))
    assert [row for row in rising(hashes) if texts[row] == HEXES[3]] == [0, 2, 5]
    assert first_equals(hashes).tolist() == [0, 1, 0, 3, 1, 0]
    assert first_equals(hashes[:0]).tolist() == []


def test_hashes_are_found_where_they_lie_first_or_not_at_all() -> None:
    hashes = unhex(pa.array(HEXES))
    assert find(hashes[[5, 999, 0]], hashes[[0, 7, 5, 5]]).tolist() == [2, -1, 0]
    assert find(hashes[:0], hashes).tolist() == []
    assert find(hashes[:2], hashes[:0]).tolist() == [-1, -1]
