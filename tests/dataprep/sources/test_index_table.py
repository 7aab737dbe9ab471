"""An index given as the source, and the official layout of three folders."""

import gzip
import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprep.errors import DataError
from dataprep.sources import RefusedItem, Selection, read_item
from dataprep.storage import store as storage
from tests.dataprep.sources.source_helpers import (
    counts,
    items,
    json_lines,
    listed,
    notes,
    png,
    short,
    tar_bytes,
    write,
    zip_bytes,
)

Rows = list[dict[str, Any]]


def as_parquet(folder: Path, rows: Rows) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "i.parquet")
    return folder / "i.parquet"


def as_lines(folder: Path, rows: Rows) -> Path:
    return json_lines(folder / "i.jsonl", rows)


def as_packed_lines(folder: Path, rows: Rows) -> Path:
    plain = as_lines(folder, rows).read_bytes()
    return write(folder / "p.jsonl.gz", gzip.compress(plain))


KINDS = pytest.mark.parametrize("make", [as_parquet, as_lines, as_packed_lines])
Make = Callable[[Path, Rows], Path]


@KINDS
def test_an_index_says_where_pictures_lie_and_what_is_known_of_them(tmp_path: Path, make: Make) -> None:
    far = write(tmp_path / "elsewhere" / "f r.PNG", png(1))
    write(tmp_path / "set" / "deep" / "é.png", png(2))
    write(tmp_path / "set" / "lines.png", png(3))
    write(tmp_path / "set" / "mask.png", png(4))
    full = {"tags": ["hat", "smile"], "rating": "g", "score": 4.5, "group": "ann", "caption": "a hat", "story": "s1"}
    rows = [
        {"path": "deep/é.png", "sketch": "lines.png", "mask": "mask.png", "date": "2020-05-06"} | full,
        {"path": str(far), "sketch": None, "mask": None, "date": None}
        | dict.fromkeys(("tags", "rating", "score", "group", "caption", "story")),
    ]
    source = make(tmp_path / "set", rows)
    first, second = items(source)
    assert (first.tags, first.rating, first.score) == (("hat", "smile"), "g", 4.5)
    assert (first.group, first.caption) == ("ann", "a hat")
    assert (second.tags, second.rating, second.score, second.group) == ((), None, None, None)
    data = read_item(first)
    assert (data.data, data.drawn_sketch, data.mask) == (png(2), png(3), png(4))
    assert read_item(second).data == png(1)
    assert [item.group for item in items(source, Selection(group_by="story"))] == ["s1", None]
    assert short(items(source, Selection(date_from="2020-05"))) == ["é.png"]


def test_parquet_dates_and_number_columns_are_understood(tmp_path: Path) -> None:
    rows = [
        {"path": "/p/a.png", "date": date(2020, 1, 2), "album": 7, "width": 100, "height": 50},
        {"path": "/p/b.png", "date": date(2021, 1, 2), "album": 8, "width": 60, "height": 70},
    ]
    source = as_parquet(tmp_path, rows)
    assert short(items(source, Selection(date_to="2020"))) == ["a.png"]
    assert short(items(source, Selection(min_side=60))) == ["b.png"]
    assert [item.group for item in items(source, Selection(group_by="album"))] == ["7", "8"]
    moments = as_parquet(tmp_path / "t", [{"path": "/p/a.png", "date": datetime(2020, 1, 2, 3)}])
    assert len(items(moments, Selection(date_from="2020-01-02", date_to="2020-01-02"))) == 1


@KINDS
def test_an_index_keeps_its_order_and_counts_paths_that_come_again(tmp_path: Path, make: Make) -> None:
    source = make(tmp_path, [{"path": f"/p/{name}.png"} for name in ("b", "a", "b", "c")])
    assert short(items(source)) == ["b.png", "a.png", "c.png"]
    assert counts(source) == {"duplicate path": 1}


@pytest.mark.parametrize("inside", [True, False])
def test_a_picture_that_two_lines_name_keeps_the_facts_of_the_first_and_the_others_are_counted(
    tmp_path: Path, inside: bool
) -> None:
    write(tmp_path / "a.png", png(1))
    lines = [("a.png", "one"), ("./a.png", "one"), ("a.png", "one"), (".\\a.png", "two")]
    index = json_lines(tmp_path / "index.jsonl", [{"path": path, "caption": caption} for path, caption in lines])
    source = tmp_path if inside else index
    assert [item.caption for item in items(source)] == ["one"]
    assert counts(source) == {"duplicate path": 1, "duplicate path, other facts": 2}


def test_values_are_read_as_tools_write_them(tmp_path: Path) -> None:
    rows: Rows = [
        {"score": "12", "width": 200.0, "tags": "a, b c", "rating": 3},
        {"score": float("nan"), "width": float("nan"), "tags": '["a", "b c"]', "caption": float("nan")},
        {"score": " 1.5 ", "width": "", "tags": "['a', \"b c\"]", "group": 7.0},
        {"score": "nan", "tags": "a_b c", "md5": "0"},
        {"tags": ["a", None, 3], "caption": ["first", "second"], "deleted": "no", "date": "2020-01-02 03:04:05"},
    ]
    index = json_lines(tmp_path / "i.jsonl", [{"path": f"/p/{number}.png"} | row for number, row in enumerate(rows)])
    found = items(index)
    assert [item.tags for item in found] == [("a", "b c")] * 3 + [("a_b", "c"), ("a", "3")]
    assert [item.score for item in found] == [12.0, None, 1.5, None, None]
    assert (found[0].rating, found[1].caption, found[2].group, found[4].caption) == ("3", None, "7", "first")
    assert short(items(index, Selection(min_side=None, max_side=None, date_from="2020"))) == ["4.png"]
    assert notes(index).unread_facts == {}


def test_a_table_of_pictures_themselves_is_named_as_what_it_is(tmp_path: Path) -> None:
    table = as_parquet(tmp_path, [{"image": {"bytes": png(1), "path": "a.png"}, "text": "x"}])
    with pytest.raises(DataError, match=r"holds the pictures themselves \(column image\)"):
        items(table)
    write(tmp_path / "b.png", png(2))
    assert short(items(tmp_path)) == ["b.png"]
    assert "i.parquet (pictures within the table" in notes(tmp_path).read_as[0].not_read[0]


def test_a_file_behind_an_index_that_changes_changes_its_key(tmp_path: Path) -> None:
    picture = write(tmp_path / "a.png", png(1))
    source = as_lines(tmp_path, [{"path": "a.png"}, {"path": "gone.png"}])
    before = listed(source)
    write(picture, png(2) + b" ")
    after = listed(source)
    assert before[0].key != after[0].key
    assert before[1].key == after[1].key
    with pytest.raises(DataError, match=r"gone.png: there is no such file"):
        read_item(after[1].item)


@KINDS
@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"path": "../x.png"}, "not a path inside the folder of the index"),
        ({"path": "https://host/x.png"}, "neither a path nor an s3:// address"),
        ({"path": 3}, "path must be a word"),
        ({"path": None, "rating": "g"}, "path is missing"),
    ],
)
def test_a_wrong_address_of_an_index_is_a_reject_with_its_line_and_an_index_of_such_is_an_error(
    tmp_path: Path, make: Make, row: dict[str, Any], says: str
) -> None:
    with pytest.raises(DataError, match=f"(line|row) 1: .*{says}"):
        items(make(tmp_path, [row]))
    if not isinstance(row["path"], int):  # a column of Parquet has one type
        good, bad = items(make(tmp_path, [{"path": "good.png", "rating": None}, row | {"rating": None}]))
        assert short([good]) == ["good.png"]
        assert bad.uri.rpartition("#")[2] in ("line 2", "row 2")
        with pytest.raises(RefusedItem, match=f"(line|row) 2: .*{says}"):
            read_item(bad)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("i.parquet", b"not parquet", "i.parquet"),
        ("i.jsonl", b"", "no pictures here"),
        ("i.jsonl", b"x" * 100, "line 1: not JSON"),
        ("gone.parquet", None, "there is no such file"),
        ("notes.txt", b"hello", "not a source. A file must be an index"),
        ("gone", None, "no pictures here"),
    ],
)
def test_a_wrong_or_empty_source_says_what_was_looked_for(
    tmp_path: Path, name: str, data: bytes | None, says: str
) -> None:
    path = tmp_path / name if data is None else write(tmp_path / name, data)
    with pytest.raises(DataError, match=says):
        items(path)


def test_a_table_without_paths_names_its_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs a column path \(or file_name\); this table has file, tags"):
        items(as_parquet(tmp_path, [{"file": "a.png", "tags": ["x"]}]))


@pytest.mark.s3
def test_an_index_on_s3_finds_its_pictures_beside_it_and_their_versions(tmp_path: Path, s3_prefix: str) -> None:
    for name in ("a b.png", "ü.png"):
        storage.write_whole(storage.join(s3_prefix, "p", name), png(1))
    rows = [{"path": "p/a b.png"}, {"path": storage.join(s3_prefix, "p", "ü.png")}, {"path": "p/gone.png"}]
    source = storage.join(s3_prefix, "i.jsonl")
    storage.write_whole(source, as_lines(tmp_path, rows).read_bytes())
    before = listed(source)
    assert [read_item(entry.item).data for entry in before[:2]] == [png(1), png(1)]
    storage.write_whole(storage.join(s3_prefix, "p", "ü.png"), png(2))
    assert [a.key == b.key for a, b in zip(before, listed(source), strict=True)] == [True, False, True]


@pytest.mark.s3
def test_an_address_on_s3_that_cannot_be_listed_costs_its_row(tmp_path: Path, s3_prefix: str) -> None:
    storage.write_whole(storage.join(s3_prefix, "a.png"), png(1))
    paths = [
        storage.join(s3_prefix, "a.png"),
        "s3://no-such-bucket-here/b.png",
        "s3://no-such-bucket-here/c.png",
        "s3://",
    ]
    good, *bad = items(as_lines(tmp_path, [{"path": path} for path in paths]))
    assert read_item(good).data == png(1)
    assert [json.loads(item.detail)["refused"].split(": ")[0] for item in bad] == ["line 2", "line 3", "line 4"]
    assert "no such bucket" in bad[0].detail


# ---- the official layout --------------------------------------------------------------------------------------------


def official(root: Path, pack: Callable[[dict[str, bytes]], bytes] = zip_bytes) -> Path:
    suffix = "zip" if pack is zip_bytes else "tar"
    write(root / "color" / f"0001.{suffix}", pack({"b.jpg": png(1), "a.jpg": png(2)}))
    write(root / "color" / f"0002.{suffix}", pack({"0002/a.jpg": png(3)}))
    write(root / "sketch" / f"0001.{suffix}", pack({"a.png": png(4), "left.png": png(9)}))
    write(root / "sketch" / f"0002.{suffix}", pack({"0002/a.png": png(5)}))
    write(root / "mask" / f"0001.{suffix}", pack({"a.png": png(6)}))
    return root


@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes])
def test_members_of_one_name_in_three_archives_are_one_row(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    root = official(tmp_path, pack)
    found = items(root)
    assert [item.uri.rpartition("#")[2] for item in found] == ["a.jpg", "b.jpg", "0002/a.jpg"]
    data = [read_item(item) for item in found]
    assert [(d.data, d.drawn_sketch, d.mask) for d in data] == [
        (png(2), png(4), png(6)),
        (png(1), None, None),
        (png(3), png(5), None),
    ]
    assert counts(root) == {"no picture": 1}


def test_plain_files_in_three_folders_are_one_row(tmp_path: Path) -> None:
    write(tmp_path / "color" / "deep" / "x.JPG", png(1))
    write(tmp_path / "sketch" / "deep" / "x.png", png(2))
    write(tmp_path / "mask" / "deep" / "x.png", png(3))
    (item,) = items(tmp_path)
    data = read_item(item)
    assert (data.data, data.drawn_sketch, data.mask) == (png(1), png(2), png(3))


@pytest.mark.parametrize(
    ("index", "taken", "left"),
    [
        (["0001/a.jpg", "b.jpg"], ["a.jpg", "b.jpg"], {"not listed": 1}),
        ({"0001.zip": ["a.jpg"], "0002.zip": ["a.jpg"]}, ["a.jpg", "0002/a.jpg"], {"not listed": 1}),
        (
            [{"name": "b.jpg"}, {"name": "c.jpg"}, "b.jpg"],
            ["b.jpg"],
            {"not listed": 2, "no file": 1, "duplicate name": 1},
        ),
    ],
)
def test_a_list_beside_the_folders_says_what_is_taken(
    tmp_path: Path, index: Any, taken: list[str], left: dict[str, int]
) -> None:
    root = official(tmp_path)
    write(root / "image_list.json", json.dumps(index))
    assert [item.uri.rpartition("#")[2] for item in items(root)] == taken
    assert counts(root) == {"no picture": 1} | left


def test_entries_of_the_list_bring_facts(tmp_path: Path) -> None:
    root = official(tmp_path)
    entry = {"name": "0002/a.jpg", "tags": "blue hair, smile", "width": 30, "height": 40, "album": "x"}
    write(root / "image_list.json", json.dumps([entry]))
    (item,) = items(root, Selection(min_side=30, group_by="album"))
    assert (item.tags, item.group) == (("blue hair", "smile"), "x")


def test_an_entry_of_the_list_that_is_none_costs_itself(tmp_path: Path) -> None:
    root = official(tmp_path)
    write(root / "image_list.json", '\ufeff["b.jpg", 3, {"name": ".\\\\0002\\\\a.jpg", "score": "7"}, {"tags": "x"}]')
    *found, second, fourth = sorted(items(root), key=lambda item: "#entry" in item.uri)
    assert [(item.uri.rpartition("#")[2], item.score) for item in found] == [("b.jpg", None), ("0002/a.jpg", 7.0)]
    assert [item.uri.rpartition("#")[2] for item in (second, fourth)] == ["entry 2", "entry 4"]


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ("nope", "not JSON"),
        ("3", "a JSON object is needed"),
        ("[3]", "an entry must be a name"),
        ('["a.jpg", {"name": "b.jpg"}', "not JSON"),
        ('{"0001.zip": 3}', "0001.zip needs a list of names"),
        ('["a.jpg"]', "several archives"),
    ],
)
def test_a_broken_list_is_said(tmp_path: Path, index: str, says: str) -> None:
    root = official(tmp_path)
    write(root / "image_list.json", index)
    with pytest.raises(DataError, match=says):
        items(root)


def test_a_folder_with_an_index_of_its_own_is_a_tree_though_it_has_the_three_folders(tmp_path: Path) -> None:
    for folder in ("color", "sketch", "mask"):
        write(tmp_path / folder / "s" / "x.png", png())
    line = {"path": "color/s/x.png", "sketch": "sketch/s/x.png", "mask": "mask/s/x.png", "score": 2, "caption": "c"}
    json_lines(tmp_path / "index.jsonl", [line])
    (item,) = items(tmp_path)
    assert (item.score, item.caption) == (2.0, "c")
    assert (item.sketch_uri, item.mask_uri) == (str(tmp_path / "sketch/s/x.png"), str(tmp_path / "mask/s/x.png"))


HALF = '"tags": ["half \\ud83d", "whole \\ud83d\\ude00"]'


def test_half_a_character_in_json_becomes_a_question_mark(tmp_path: Path) -> None:
    write(tmp_path / "a.png", png())
    index = write(tmp_path / "index.jsonl", f'{{"path": "a.png", {HALF}}}\n')
    write(tmp_path / "official/color/a.png", png())
    write(tmp_path / "official/sketch/a.png", png())
    write(tmp_path / "official/image_list.json", f'[{{"name": "a", {HALF}}}]')
    for source in (index, tmp_path, tmp_path / "official"):
        assert [item.tags for item in items(source)] == [("half ?", "whole \U0001f600")]


@pytest.mark.parametrize(
    "said",
    [
        *('"score": 1e999', '"score": 1e39', f'"score": {10**400}', '"width": 1e999', '"score": "high"'),
        *('"width": 9223372036854775808', '"parent": 1e999', '"width": 1.5', '"tags": {"a": 1}', '"tags": "two words"'),
        *('"caption": 5', '"deleted": "perhaps"', '"date": "yesterday"', '"rating": true', '"group": {}'),
    ],
)
def test_a_fact_that_cannot_be_read_is_counted_and_costs_neither_the_picture_nor_the_others(
    tmp_path: Path, said: str
) -> None:
    fact = said.split('"')[1]
    other = "caption" if fact != "caption" else "rating"
    line = f'{{"path": "a.png", "{other}": "kept", {said}}}'
    write(tmp_path / "a.png", png(1))
    index = write(tmp_path / "index.jsonl", line + "\n")
    members = {"a.png": png(1), "a.json": line.encode(), "b.png": png(2)}
    for source in (index, tmp_path, write(tmp_path.parent / f"{tmp_path.name}.tar", tar_bytes(members))):
        first, *_ = items(source)
        assert (getattr(first, other), read_item(first).data) == ("kept", png(1))
        found = notes(source)
        assert found.unread_facts == {fact: 1}
        assert "a.json: " in found.examples[fact] or "index.jsonl, line 1: " in found.examples[fact]


@pytest.mark.parametrize("true", [True, 1, "true"])
def test_deleted_and_banned_leave_a_picture_out_wherever_they_are_said(tmp_path: Path, true: Any) -> None:
    facts: Rows = [{"deleted": true}, {"banned": true}, {"deleted": False, "banned": 0}]
    rows = [{"path": f"{number}.png"} | said for number, said in enumerate(facts)]
    members = {f"{number}.json": json.dumps(said).encode() for number, said in enumerate(facts)}
    members |= {f"{number}.png": png(number) for number in range(3)}
    for name, data in members.items():
        write(tmp_path / "tree" / name, data)
    index = json_lines(tmp_path / "tree" / "index.jsonl", rows)
    shard = write(tmp_path / "x.tar", tar_bytes(members))
    for source in (index, tmp_path / "tree", shard):
        assert short(items(source))[0].endswith("2.png")
        assert len(items(source, Selection(take_deleted=True, take_banned=True))) == 3


def test_a_version_in_an_index_inside_a_folder_stands_for_the_bytes(tmp_path: Path) -> None:
    json_lines(tmp_path / "index.jsonl", [{"path": "a.png", "version": 7}])
    keys = []
    for seed in (1, 2):
        write(tmp_path / "a.png", png(seed, 8 * seed))
        keys += [entry.key for entry in listed(tmp_path)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("folder", ["sketch", "mask"])
def test_a_cut_archive_of_sketches_or_masks_is_a_reject_beside_its_pictures(tmp_path: Path, folder: str) -> None:
    root = official(tmp_path)
    broken = next((root / folder).rglob("*.zip"))
    broken.write_bytes(broken.read_bytes()[:-30])
    refused = [item for item in items(root) if "refused" in item.detail]
    assert [item.uri for item in refused] == [str(broken)]
    assert "not a whole zip archive" in refused[0].detail
    assert len(items(root)) > 1


def test_of_two_pictures_of_one_name_the_one_counts_that_has_a_sketch_of_its_suffix(tmp_path: Path) -> None:
    for number, name in enumerate(("color/a.jpg", "color/a.png", "color/b.png", "color/c.jpg", "color/c.png")):
        write(tmp_path / name, png(number))
    write(tmp_path / "sketch/a.png", png(7))
    write(tmp_path / "sketch/c.webp", png(8))  # of which of the two?
    found = items(tmp_path)
    assert short(found) == ["a.png", "b.png", "c.jpg"]
    assert [read_item(item).drawn_sketch for item in found] == [png(7), None, None]
    assert counts(tmp_path) == {"duplicate name": 3}


def test_of_two_sketches_of_one_name_that_with_the_suffix_of_the_picture_is_taken(tmp_path: Path) -> None:
    for number, name in enumerate(("color/a.png", "sketch/a.jpg", "sketch/a.png", "mask/a.webp")):
        write(tmp_path / name, png(number))
    (item,) = items(tmp_path)
    assert (read_item(item).drawn_sketch, read_item(item).mask) == (png(2), None)
    assert counts(tmp_path) == {"duplicate name": 2}
