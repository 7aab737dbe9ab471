import hashlib

import pyarrow as pa
import pytest

from dataprep.corpus.hashes import unhex
from dataprep.plan.split import SPLITS, assign_split, assign_splits

KEYS = [f"group-{i}" for i in range(20_000)]


def test_share_of_validation_is_what_was_asked_for() -> None:
    taken = sum(assign_split(key, 0.1) == "validation" for key in KEYS) / len(KEYS)
    assert abs(taken - 0.1) < 4 * (0.1 * 0.9 / len(KEYS)) ** 0.5


def test_a_key_in_validation_stays_there_when_the_share_grows() -> None:
    small = {key for key in KEYS if assign_split(key, 0.05) == "validation"}
    large = {key for key in KEYS if assign_split(key, 0.2) == "validation"}
    assert small < large


def test_the_split_is_the_hash_of_the_key_alone() -> None:
    key = "album/彩り"
    position = int(hashlib.sha256(key.encode()).hexdigest()[:16], 16) / 16**16
    assert assign_split(key, position + 1e-9) == "validation"
    assert assign_split(key, position - 1e-9) == "train"


def test_shares_of_nothing_and_everything() -> None:
    assert {assign_split(key, 0.0) for key in KEYS[:100]} == {"train"}
    assert {assign_split(key, 1.0) for key in KEYS[:100]} == {"validation"}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_zero_to_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="validation_share"):
        assign_split("a", share)


def test_many_rows_are_assigned_as_each_of_them() -> None:
    ids = [hashlib.sha256(key.encode()).hexdigest() for key in KEYS[:3000]]
    groups = [[None, "", f"album-{i % 40}", f"彩り-{i}"][i % 4] for i in range(3000)]
    chunked = pa.chunked_array([groups[:1000], groups[1000:]], pa.string())
    found = [SPLITS[code] for code in assign_splits(chunked, unhex(pa.array(ids)), 0.3)]
    assert found == [assign_split(group or row_id, 0.3) for group, row_id in zip(groups, ids, strict=True)]


@pytest.mark.parametrize("groups", [[], [None, None], ["a", "b"]])
def test_no_rows_and_rows_all_with_or_without_a_group(groups: list[str | None]) -> None:
    ids = [hashlib.sha256(bytes([i])).hexdigest() for i in range(len(groups))]
    found = assign_splits(pa.chunked_array([groups], pa.string()), unhex(pa.array(ids, pa.string())), 0.5)
    assert [SPLITS[code] for code in found] == [assign_split(g or i, 0.5) for g, i in zip(groups, ids, strict=True)]
