"""Dumps of Danbooru: every spelling of the metadata, files by id, tars by id, and what has no counterpart."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprep.errors import DataError
from dataprep.sources import Selection, SourceItem, list_batches, read_item
from dataprep.sources import items as source_items
from dataprep.storage import store as storage
from tests.dataprep.sources.source_helpers import (
    counts,
    items,
    json_lines,
    listed,
    notes,
    png,
    refusals_of,
    short,
    tar_bytes,
    write,
    zip_bytes,
)


def post(number: int, **fields: Any) -> dict[str, Any]:
    """A post as Danbooru2021 spells it."""
    return {
        "id": number,
        "created_at": "2021-03-04T05:06:07.000-05:00",
        "rating": "s",
        "score": 3,
        "image_width": 800,
        "image_height": 600,
        "file_ext": "png",
        "parent_id": None,
        "has_children": False,
        "is_deleted": False,
        "is_banned": False,
        "tag_string_general": "1girl smile",
        "tag_string_artist": "ann_(painter)",
        "tag_string_copyright": "original",
        "tag_string_character": "",
        "tag_string_meta": "highres",
    } | fields


def old_post(number: int) -> dict[str, Any]:
    """The same post as Danbooru2020 and before spell it: text for numbers, tags as objects."""
    names = [("1girl", 0), ("smile", 0), ("ann_(painter)", 1), ("original", 3), ("highres", 5)]
    return {
        "id": str(number),
        "created_at": "2021-03-04 05:06:07.34205 UTC",
        "rating": "s",
        "score": "3",
        "image_width": "800",
        "image_height": "600",
        "file_ext": "png",
        "parent_id": "0",
        "has_children": False,
        "is_deleted": False,
        "is_banned": False,
        "tags": [{"id": "1", "name": name, "category": str(category)} for name, category in names],
        "pools": [],
    }


TAGS = ("1girl", "smile", "artist:ann_(painter)", "copyright:original", "meta:highres")


def dump(root: Path, posts: list[dict[str, Any]], numbers: tuple[int, ...] = (), layout: str = "original") -> Path:
    json_lines(root / "metadata" / "posts000000000000.json", posts)
    for number in numbers or [int(entry["id"]) for entry in posts if "id" in entry]:
        write(root / layout / f"{number % 1000:04d}" / f"{number}.png", png(number))
    return root


def by_id(found: list[SourceItem]) -> dict[int, SourceItem]:
    return {int(item.uri.rpartition("/")[2].rpartition("#")[2].partition(".")[0]): item for item in found}


@pytest.mark.parametrize("spelling", [post, old_post])
def test_a_post_is_found_by_the_last_three_digits_of_its_id(tmp_path: Path, spelling: Any) -> None:
    (item,) = items(dump(tmp_path, [spelling(2_001_123)]))
    assert item.uri == str(tmp_path / "original" / "0123" / "2001123.png")
    assert (item.tags, item.rating, item.score, item.group) == (TAGS, "s", 3.0, None)
    assert read_item(item).data == png(2_001_123)


def test_both_spellings_select_alike(tmp_path: Path) -> None:
    root = dump(tmp_path, [post(1), old_post(2)])
    selection = Selection(
        all_tags=("smile", "meta:highres"), date_from="2021-03-04", date_to="2021-03", min_side=600, max_side=800
    )
    assert len(items(root, selection)) == 2
    for other in (Selection(date_to="2021-03-03"), Selection(min_side=601), Selection(no_tags=("copyright:original",))):
        with pytest.raises(DataError, match="not one picture is selected"):
            items(root, other)


def test_plain_tag_strings_take_their_categories_from_the_tag_table(tmp_path: Path) -> None:
    names = (
        "tag_string_general",
        "tag_string_artist",
        "tag_string_copyright",
        "tag_string_character",
        "tag_string_meta",
    )
    bare = {key: value for key, value in post(1).items() if key not in names} | {"tag_string": "smile ann highres"}
    root = dump(tmp_path, [bare])
    categories: list[dict[str, Any]] = [
        {"name": "smile", "category": "0"},
        {"name": "ann", "category": "1"},
        {"name": "highres", "category": 5},
    ]
    assert items(root)[0].tags == ("smile", "ann", "highres")
    json_lines(root / "metadata" / "tags000000000000.json", categories)
    assert items(root)[0].tags == ("smile", "artist:ann", "meta:highres")


def test_deleted_and_banned_posts_are_taken_only_when_asked(tmp_path: Path) -> None:
    root = dump(tmp_path, [post(1), post(2, is_deleted=True), post(3, is_banned=True), post(4, is_deleted="true")])
    assert short(items(root)) == ["1.png"]
    assert counts(root) == {"deleted": 2, "banned": 1}
    assert short(items(root, Selection(take_deleted=True))) == ["1.png", "2.png", "4.png"]
    assert short(items(root, Selection(take_deleted=True, take_banned=True))) == [f"{n}.png" for n in (1, 2, 3, 4)]


def test_a_group_is_the_pool_else_the_parent_and_a_parent_belongs_to_its_children(tmp_path: Path) -> None:
    posts = [
        post(1, has_children=True),
        post(2, parent_id=1),
        post(3, parent_id="1", pools=["9", "5"]),
        post(4, pools=[{"id": 5}]),
        post(5, pool_string="pool:5 pool:12"),
        post(6),
    ]
    root = dump(tmp_path, posts)
    assert [item.group for item in items(root)] == ["parent:1", "parent:1", "pool:5", "pool:5", "pool:5", None]
    assert [item.group for item in items(root, Selection(group_by="parent"))] == ["parent:1"] * 3 + [None] * 3
    assert [item.group for item in items(root, Selection(group_by="pool"))] == [None] * 2 + ["pool:5"] * 3 + [None]
    assert {item.group for item in items(root, Selection(group_by="none"))} == {None}
    assert {item.group for item in items(root, Selection(group_by="artist"))} == {"artist:ann_(painter)"}
    assert {item.group for item in items(root, Selection(group_by="created_at"))} == {"2021-03-04T05:06:07.000-05:00"}


def test_pools_of_the_pool_table_group_their_posts_a_series_before_a_collection(tmp_path: Path) -> None:
    root = dump(tmp_path, [post(1), post(2), post(3), post(4)])
    pools = [
        {"id": "7", "post_ids": ["1", "2"], "category": "collection", "is_deleted": False},
        {"id": "8", "post_ids": [2, 3], "category": "series", "is_deleted": False},
        {"id": "6", "post_ids": [4], "category": "series", "is_deleted": True},
    ]
    json_lines(root / "metadata" / "pools000000000000.json", pools)
    assert [item.group for item in items(root)] == ["pool:7", "pool:8", "pool:8", None]


def test_what_has_no_counterpart_is_counted(tmp_path: Path) -> None:
    kept_back = {key: value for key, value in post(0).items() if key != "id"}
    root = dump(
        tmp_path, [post(1), post(2), post(2, score=9), post(5), post(1003, file_ext="mp4"), kept_back], (1, 2, 77)
    )
    write(root / "original" / "0003" / "1003.mp4", b"film")
    write(root / "original" / "0001" / "1.webp", png(1))
    write(root / "original" / "0001" / "notes.png", png(1))
    assert short(items(root)) == ["1.png", "2.png"]
    assert by_id(items(root))[2].score == 3.0
    assert counts(root) == {
        "no file": 1,
        "no metadata": 1,
        "duplicate id": 1,
        "duplicate file": 1,
        "not a picture": 1,
        "no id": 1,
        "kind: picture without an id": 1,
    }


def test_duplicate_ids_are_counted_across_batches_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_items, "BATCH_ROWS", 2)
    root = dump(tmp_path, [post(number) for number in (1, 2, 3, 1, 3, 4)])
    assert short(items(root)) == ["1.png", "2.png", "3.png", "4.png"]
    assert counts(root) == {"duplicate id": 2}
    assert [len(table) for table in list_batches(str(root))] == [2, 1, 1]


def test_originals_come_before_the_small_copies_unless_these_are_named(tmp_path: Path) -> None:
    root = dump(tmp_path, [post(1), post(2)])
    write(root / "512px" / "0001" / "1.jpg", png(1))
    assert [Path(item.uri).parts[-3:] for item in items(root)] == [("original", f"000{n}", f"{n}.png") for n in (1, 2)]
    (small,) = items(root / "512px")
    assert small.uri == str(root / "512px" / "0001" / "1.jpg")
    assert small.tags == TAGS


def test_metadata_of_many_files_packed_or_not_is_read_in_their_order(tmp_path: Path) -> None:
    root = dump(tmp_path, [post(3), post(1)], (1, 2, 3, 4))
    json_lines(root / "metadata" / "posts000000000001.json", [post(4)])
    rows = (root / "metadata" / "posts000000000001.json").read_bytes()
    (root / "metadata" / "posts000000000001.json").unlink()
    write(root / "metadata" / "posts000000000001.jsonl.gz", gzip.compress(rows))
    json_lines(root / "metadata" / "posts000000000002.json", [post(2)])
    assert short(items(root)) == ["3.png", "1.png", "4.png", "2.png"]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ('{"id": 2, "sc', "line 2: not JSON"),
        ("[1]", "line 2: a JSON object is needed"),
        ('{"id": "two"}', "line 2: id must be a whole number"),
        ('{"id": 9223372036854775808}', "line 2: id must be a whole number"),
    ],
)
def test_a_broken_metadata_line_costs_its_post(tmp_path: Path, broken: str, says: str) -> None:
    root = dump(tmp_path, [post(1)])
    later = write(root / "metadata" / "posts000000000001.json", f"{json.dumps(post(3))}\n{broken}\n")
    write(root / "original" / "0003" / "3.png", png(3))
    assert short(items(root)) == ["1.png", "3.png", "posts000000000001.json#line 2"]
    (why,) = refusals_of(root).values()
    assert why.startswith(says)
    assert later.exists()


@pytest.mark.parametrize(
    ("said", "fact", "left"),
    [
        ({"score": "many"}, "score", {"tags": TAGS, "rating": "s"}),
        ({"score": True}, "score", {"tags": TAGS, "rating": "s"}),
        ({"tags": [3]}, "tags", {"score": 3.0, "rating": "s"}),
        ({"rating": ["s", 1]}, "rating", {"tags": TAGS, "score": 3.0}),
        ({"image_width": "wide"}, "image_width", {"tags": TAGS}),
        ({"parent_id": "mother"}, "parent_id", {"tags": TAGS, "group": None}),
        ({"created_at": "yesterday"}, "created_at", {"tags": TAGS}),
        ({"pools": 7.5}, "pools", {"tags": TAGS, "group": None}),
    ],
)
def test_a_fact_of_a_post_that_cannot_be_read_costs_nothing_else(
    tmp_path: Path, said: dict[str, Any], fact: str, left: dict[str, Any]
) -> None:
    root = dump(tmp_path, [post(1) | said])
    (item,) = items(root)
    assert {name: getattr(item, name) for name in left} == left
    assert notes(root).unread_facts == {fact: 1}


def test_values_of_posts_are_read_as_tools_write_them(tmp_path: Path) -> None:
    odd = {"score": "12", "image_width": "800.0", "parent_id": 7.0, "is_deleted": "False", "rating": None}
    root = dump(tmp_path, [post(1) | odd, post(2, score=float("nan"), pools=None), post(3, score=3.7)])
    first, second, third = items(root)
    assert (first.score, first.group, first.rating) == (12.0, "parent:7", None)
    assert (second.score, round(third.score or 0, 3)) == (None, 3.7)
    assert notes(root).unread_facts == {}
    assert len(items(root, Selection(min_side=600))) == 3


def test_a_dump_without_a_file_by_id_says_what_was_looked_for(tmp_path: Path) -> None:
    json_lines(tmp_path / "metadata" / "posts000000000000.json", [post(1)])
    (tmp_path / "original").mkdir()
    with pytest.raises(DataError, match="no pictures named by their id in original"):
        items(tmp_path)


# ---- tars with a table ----------------------------------------------------------------------------------------------


def table_of(posts: list[dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(posts), path)
    else:
        json_lines(path, posts)


@pytest.mark.parametrize(
    "table", ["metadata/posts.json", "metadata/danbooru.parquet", "metadata.parquet", "posts.jsonl"]
)
def test_members_of_tars_are_matched_with_a_metadata_table_by_id(tmp_path: Path, table: str) -> None:
    table_of([post(1_003), post(2), post(9), post(4)], tmp_path / table)
    write(
        tmp_path / "original" / "data-0003.tar", tar_bytes({"1003.jpg": png(3), "4.PNG": png(4), "1003.txt": b"tags"})
    )
    write(tmp_path / "updates" / "20240319" / "dataset-0.tar", tar_bytes({"./2.webp": png(2), "77.png": png(7)}))
    found = by_id(items(tmp_path))
    assert list(found) == [1003, 2, 4]
    assert {number: read_item(item).data for number, item in found.items()} == {1003: png(3), 2: png(2), 4: png(4)}
    assert found[2].tags == TAGS
    assert found[2].kind == "member"
    assert counts(tmp_path) == {"no file": 1, "no metadata": 1}


def test_tars_at_the_top_and_zips_are_found_too(tmp_path: Path) -> None:
    table_of([post(1), post(2)], tmp_path / "metadata.jsonl")
    write(tmp_path / "0.tar", tar_bytes({"1.png": png(1)}))
    write(tmp_path / "1.zip", zip_bytes({"2.png": png(2)}))
    assert [read_item(item).data for item in items(tmp_path)] == [png(1), png(2)]


def test_a_damaged_tar_of_a_dump_is_a_reject_and_the_rest_is_taken(tmp_path: Path) -> None:
    table_of([post(1), post(2), post(3)], tmp_path / "metadata.jsonl")
    write(tmp_path / "0.tar", tar_bytes({"1.png": png(1)}))
    write(tmp_path / "1.tar", tar_bytes({"2.png": png(2), "3.png": png(3)})[:1600])
    found = items(tmp_path)
    assert [item.uri.removeprefix(f"{tmp_path}/") for item in found] == [
        "0.tar#1.png",
        "1.tar#2.png",
        "1.tar#3.png",
        "1.tar",
    ]
    assert ["refused" in item.detail for item in found] == [False, False, True, True]


@pytest.mark.s3
def test_a_dump_on_s3_lists_and_reads_as_on_disk(tmp_path: Path, s3_prefix: str) -> None:
    table_of([post(1), post(2_002), post(3)], tmp_path / "metadata" / "posts.json")
    write(tmp_path / "original" / "0001" / "1.png", png(1))
    write(tmp_path / "updates" / "0.tar", tar_bytes({"2002.png": png(2)}))
    storage.upload_directory(tmp_path, s3_prefix)
    here, there = items(tmp_path), items(s3_prefix)
    assert [item.uri.removeprefix(s3_prefix) for item in there] == [
        item.uri.removeprefix(str(tmp_path)) for item in here
    ]
    assert [read_item(item).data for item in there] == [png(1), png(2)]
    assert [entry.key for entry in listed(s3_prefix)] == [entry.key for entry in listed(s3_prefix)]
    assert counts(s3_prefix) == {"no file": 1}


@pytest.mark.parametrize(
    ("table", "line", "fact"),
    [
        ("tags", '{"name": "a", "category": "x"}', "tag category"),
        ("tags", '{"name": "a", "category": 1e999}', "tag category"),
        ("tags", '{"name": 1, "category": 1}', "tag name"),
        ("tags", "not json", "line of tags"),
        ("pools", '{"post_ids": [1]}', "pool"),
        ("pools", '{"id": 1, "post_ids": 5}', "pool"),
        ("pools", '{"id": 1, "post_ids": ["x"]}', "pool post_ids"),
    ],
)
def test_a_broken_line_of_tags_or_pools_is_counted_and_named(tmp_path: Path, table: str, line: str, fact: str) -> None:
    dump(tmp_path, [post(1)])
    write(tmp_path / "metadata" / f"{table}.json", line + "\n")
    assert len(items(tmp_path)) == 1
    found = notes(tmp_path)
    assert found.unread_facts == {fact: 1}
    assert f"{table}.json, line 1: " in found.examples[fact]


def test_tars_are_found_at_any_depth(tmp_path: Path) -> None:
    json_lines(tmp_path / "metadata" / "posts.json", [post(7)])
    for folder in ("a", "b", "c", "d/x/y"):
        write(tmp_path / "updates" / folder / "readme.txt", "nothing")
    write(tmp_path / "updates/d/x/y/deep.tar", tar_bytes({"7.png": png(7)}))
    assert [item.tags for item in items(tmp_path)] == [TAGS]


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": number, "tags": ["of a stranger"], "score": 9.0} for number in (2, 1, 0)],  # LAION and others
        [{"uid": name, "url": "u", "text": "x"} for name in "abc"],  # DataComp
        [{"id": number, "url": "u", "image_width": 5, "tags": "a, b"} for number in (0, 1, 2)],
    ],
)
@pytest.mark.parametrize("table", ["metadata/part-0.parquet", "metadata/posts.json", "metadata.jsonl"])
def test_a_table_without_the_columns_of_posts_gives_its_tags_to_no_picture(
    tmp_path: Path, rows: list[dict[str, Any]], table: str
) -> None:
    table_of(rows, tmp_path / table)
    members = {f"{number}.png": png(number) for number in range(3)} | {"1.txt": b"its own"}
    write(tmp_path / "shards" / "0.tar", tar_bytes(members))
    assert [item.tags for item in items(tmp_path)] == [()] * 3
    assert [item.caption for item in items(tmp_path)] == [None, "its own", None]
    (read_as,) = notes(tmp_path).read_as
    assert read_as.layout == "a folder"
    assert [said.split(" ")[0] for said in read_as.not_read] == [table]


def test_a_dump_says_by_what_it_was_recognised_and_which_tables_are_none_of_posts(tmp_path: Path) -> None:
    table_of([post(1)], tmp_path / "metadata" / "one.parquet")
    table_of([{"id": 1, "tags": ["of a stranger"]}], tmp_path / "metadata" / "two.parquet")
    write(tmp_path / "0.tar", tar_bytes({"1.png": png(1)}))
    (read_as,) = notes(tmp_path).read_as
    assert (read_as.layout, read_as.why.split(", ")[0]) == (
        "a dump of Danbooru",
        "metadata/one.parquet has tag_string_artist",
    )
    assert read_as.not_read[0].startswith("metadata/two.parquet (no column path or file_name; it has id, tags)")
    assert [item.tags for item in items(tmp_path)] == [TAGS]
