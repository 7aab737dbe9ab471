"""Every picture exactly once: a row of one shard, or a reject with the reason."""

import hashlib
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from dataprep.corpus.schema import SCAN_SCHEMA
from dataprep.plan.corpus_recipe import CorpusRecipe
from dataprep.plan.row_plan import Plan, make_plan
from dataprep.plan.split import assign_split

RECIPE = CorpusRecipe(validation_share=0.3, shard_rows=5)


def record(number: int, **fields: Any) -> dict[str, Any]:
    """A scan record of a picture unlike all others, unless told otherwise."""
    mark = hashlib.sha256(str(number).encode())
    known = {
        "item": f"{number:032x}",
        "uri": f"a/{number}.png",
        "tags": [],
        "kind": "file",
        "detail": "",
        "id": mark.hexdigest(),
        "width": 100,
        "height": 80,
        "pixel_hash": hashlib.sha256(mark.digest()).hexdigest(),
        "phash": int.from_bytes(mark.digest()[:8]),
    }
    return known | fields


def plan(records: list[dict[str, Any]], recipe: CorpusRecipe = RECIPE, earlier: Plan | None = None) -> Plan:
    table = pa.Table.from_pylist(records, SCAN_SCHEMA)
    return make_plan(table, recipe, earlier.index() if earlier else None)


def rejects(made: Plan) -> dict[str, tuple[str, str]]:
    return {row["source"]: (row["reason"], row["message"]) for row in made.rejects.to_pylist()}


def test_rows_are_sorted_and_in_exactly_one_shard_of_their_split() -> None:
    made = plan([record(number) for number in range(60)])
    ids = made.rows["id"].to_pylist()
    assert ids == sorted(record(number)["id"] for number in range(60))
    assert sorted(row for shard in made.shards for row in shard.rows) == list(range(60))
    for shard in made.shards:
        assert 1 <= len(shard.rows) <= 5
        assert list(shard.rows) == sorted(shard.rows)
        assert {assign_split(ids[row], 0.3) for row in shard.rows} == {shard.split}


def test_the_order_of_listing_does_not_matter() -> None:
    records = [record(number) for number in range(30)]
    assert plan(records).index() == plan(records[::-1]).index()


def test_a_group_is_never_divided() -> None:
    made = plan([record(number, group=f"story-{number % 6}") for number in range(60)])
    splits: dict[str, set[str]] = {}
    for row in made.rows.to_pylist():
        splits.setdefault(row["group"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_duplicates_name_the_picture_that_was_kept() -> None:
    first, again, recoded, similar = record(1), record(1, uri="b/1.png"), record(2), record(3)
    recoded["pixel_hash"] = first["pixel_hash"]
    similar["phash"] = first["phash"] ^ 0b101
    made = plan([first, again, recoded, similar, record(4)])
    # Of pictures with equal pixels or hashes the smallest id is kept.
    kept = min(first["id"], recoded["id"])
    assert len(made.rows) + len(made.rejects) == 5
    reasons = {source: reason for source, (reason, _) in rejects(made).items()}
    assert reasons["b/1.png"] == "duplicate-file"
    assert rejects(made)["b/1.png"][1] == first["id"]
    assert sorted(reasons.values()) == ["duplicate-file", "duplicate-pixels", "near-duplicate"]
    assert {message for _, message in rejects(made).values()} <= {kept, first["id"], recoded["id"], similar["id"]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"width": 200, "lossless": False}, {"width": 100, "lossless": True}),
        ({"width": 200, "height": 41}, {"width": 100, "height": 80}),
        ({"lossless": True}, {"lossless": False}),
        ({"lossless": True}, {"lossless": None}),
    ],
    ids=["larger before lossless", "most pixels", "lossless", "lossless before unknown"],
)
def test_of_near_duplicates_the_better_picture_is_kept(one: dict[str, Any], other: dict[str, Any]) -> None:
    for first, second in ((1, 2), (2, 1)):  # whichever has the smaller id
        better, worse = record(first, **one), record(second, **other)
        worse["phash"] = better["phash"] ^ 0b1
        made = plan([worse, better])
        assert made.rows["id"].to_pylist() == [better["id"]]
        assert rejects(made) == {worse["uri"]: ("near-duplicate", better["id"])}


def test_of_near_duplicates_that_are_as_good_the_smallest_id_is_kept() -> None:
    records = [record(number, lossless=True) for number in range(5)]
    for number in range(1, 5):
        records[number]["phash"] = records[0]["phash"]
    assert plan(records).rows["id"].to_pylist() == [min(one["id"] for one in records)]


def test_of_a_chain_of_near_duplicates_both_ends_are_kept_where_they_are_better_than_the_middle() -> None:
    left, middle, right = (record(number, width=300 - number) for number in range(3))
    middle["width"] = 100
    middle["phash"], right["phash"] = left["phash"] ^ 0b111, left["phash"] ^ 0b111111
    assert set(plan([left, middle, right]).rows["id"].to_pylist()) == {left["id"], right["id"]}


def test_recolourings_of_one_drawing_are_no_near_duplicates_but_equal_pixels_are() -> None:
    records = [record(number, phash=5, assembly=f"{{{number}}}") for number in range(4)]
    records[3]["pixel_hash"] = records[2]["pixel_hash"]
    made = plan(records)
    assert len(made.rows) == 3
    assert [reason for reason, _ in rejects(made).values()] == ["duplicate-pixels"]


def test_the_distance_of_near_duplicates_is_the_recipes() -> None:
    first, second = record(1), record(2)
    second["phash"] = first["phash"] ^ 0b1111
    assert len(plan([first, second]).rows) == 2
    wide = replace(RECIPE, filters=replace(RECIPE.filters, phash_distance=4))
    assert len(plan([first, second], wide).rows) == 1


def test_what_the_scan_refused_is_a_reject_with_its_words() -> None:
    bad = record(1, reason="unreadable", message="the file is empty", pixel_hash=None, phash=None)
    gone = record(2, id=None, reason="not-read", message="no such file")
    assert rejects(plan([bad, gone, record(3)])) == {
        "a/1.png": ("unreadable", "the file is empty"),
        "a/2.png": ("not-read", "no such file"),
    }


def test_adding_pictures_adds_shards() -> None:
    before = plan([record(number) for number in range(30)])
    after = plan([record(number) for number in range(40)], earlier=before)
    names = {shard.name for shard in after.shards}
    assert {shard.name for shard in before.shards} <= names
    assert sum(len(shard.rows) for shard in after.shards) == 40


def test_removing_a_picture_plans_the_rest_of_its_shard_again() -> None:
    before = plan([record(number) for number in range(30)])
    after = plan([record(number) for number in range(30) if number != 7], earlier=before)
    lost = {shard.name for shard in before.shards} - {shard.name for shard in after.shards}
    assert len(lost) == 1
    assert sorted(row for shard in after.shards for row in shard.rows) == list(range(29))


def test_another_drawn_sketch_makes_another_shard() -> None:
    before = plan([record(number) for number in range(10)])
    records = [record(number) for number in range(10)]
    records[3]["sketch_id"] = "00" * 32
    changed = {shard.name for shard in plan(records, earlier=before).shards}
    assert len(changed & {shard.name for shard in before.shards}) == len(before.shards) - 1


def test_other_tags_do_not() -> None:
    before = plan([record(number) for number in range(10)])
    after = plan([record(number, tags=["new"]) for number in range(10)], earlier=before)
    assert set(after.shards) == set(before.shards)


def test_rows_are_counted_by_split_and_bucket() -> None:
    made = plan([record(number, width=60 + 40 * (number % 3)) for number in range(40)])
    expected: dict[str, Counter[str]] = {}
    for row in made.rows.to_pylist():
        expected.setdefault(row["split"], Counter())[row["bucket"]] += 1
    assert made.bucket_counts() == expected
    assert len(expected["train"]) == 3


def by_hand(records: list[dict[str, Any]], distance: int) -> tuple[list[dict[str, Any]], dict[str, tuple[str, str]]]:
    """One picture after another, by id: the kept ones, and source -> (reason, kept id) of the others."""
    kept: list[dict[str, Any]] = []
    dropped: dict[str, tuple[str, str]] = {}
    waiting = sorted(records, key=lambda known: known["id"])
    for column, word in (("id", "duplicate-file"), ("pixel_hash", "duplicate-pixels"), ("phash", "near-duplicate")):
        kept = []
        for one in waiting:
            alike = [other for other in kept if is_alike(one, other, column, distance)]
            if alike:
                dropped[one["uri"]] = (word, alike[0]["id"])
            else:
                kept.append(one)
        waiting = kept
    return kept, dropped


def is_alike(one: dict[str, Any], other: dict[str, Any], column: str, distance: int) -> bool:
    if column != "phash":
        return bool(one[column] == other[column])
    found = one["assembly"] is None and other["assembly"] is None
    return found and (one["phash"] ^ other["phash"]).bit_count() <= distance


def test_a_crowded_listing_is_planned_as_by_hand() -> None:
    draw = Random(4)
    records = []
    for number in range(400):
        like = draw.randrange(220)  # many files come twice
        fields: dict[str, Any] = {"uri": f"s/{number}", "assembly": "{}" if like % 7 == 0 else None}
        fields["group"] = draw.choice([None, "", f"g{like % 9}"])
        if draw.random() < 0.3:
            fields["pixel_hash"] = record(like // 2)["pixel_hash"]
        fields["phash"] = draw.getrandbits(10) if like % 2 else record(like)["phash"]
        records.append(record(like) | fields)
    kept, dropped = by_hand(records, RECIPE.filters.phash_distance)
    made = plan(records)
    assert [(row["id"], row["uri"]) for row in made.rows.to_pylist()] == [(row["id"], row["uri"]) for row in kept]
    assert rejects(made) == dropped
    assert {reason for reason, _ in dropped.values()} == {"duplicate-file", "duplicate-pixels", "near-duplicate"}
    splits = [assign_split(row["group"] or row["id"], 0.3) for row in kept]
    assert made.rows["split"].to_pylist() == splits


def test_the_index_says_where_each_row_lies() -> None:
    made = plan([record(number) for number in range(33)])
    ids = made.rows["id"].to_pylist()
    where = {ids[row]: (shard.name, shard.split, n) for shard in made.shards for n, row in enumerate(shard.rows)}
    assert {row["id"]: (row["shard"], row["split"], row["position"]) for row in made.index().to_pylist()} == where
    assert made.index()["id"].to_pylist() == sorted(where)


def test_a_row_that_changes_its_split_leaves_its_shard() -> None:
    before = plan([record(number) for number in range(30)])
    after = plan([record(number) for number in range(30)], replace(RECIPE, validation_share=0.6), before)
    splits = {shard.name: shard.split for shard in before.shards}
    kept = [shard for shard in after.shards if shard.name in splits]
    assert all(splits[shard.name] == shard.split for shard in kept)
    assert 0 < len(kept) < len(before.shards)
    assert sorted(int(row) for shard in after.shards for row in shard.rows) == list(range(30))


def test_nothing_to_plan_is_an_empty_plan() -> None:
    bad = record(1, reason="unreadable", message="empty", pixel_hash=None, phash=None)
    made = plan([bad], earlier=plan([record(2)]))
    assert (len(made.rows), made.shards, len(made.index())) == (0, (), 0)
    assert len(made.rejects) == 1
