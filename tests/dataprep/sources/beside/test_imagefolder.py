"""Hugging Face's imagefolder: pictures that a table names by `file_name`, in folders and in archives."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprep.sources import Selection, read_item
from tests.dataprep.sources.source_helpers import (
    counts,
    items,
    json_lines,
    notes,
    png,
    refusals_of,
    short,
    tar_bytes,
    write,
    zip_bytes,
)

Rows = Sequence[Mapping[str, Any]]


def as_lines(folder: Path, rows: Rows) -> Path:
    return json_lines(folder / "metadata.jsonl", rows)


def as_csv(folder: Path, rows: Rows) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[str(row.get(name, "")) for name in names] for row in rows]
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in line) for line in [names, *cells]]
    return write(folder / "metadata.csv", "\ufeff" + "\r\n".join(lines) + "\r\n")


def as_parquet(folder: Path, rows: Rows) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([*map(dict, rows)]), folder / "metadata.parquet")
    return folder / "metadata.parquet"


KINDS = pytest.mark.parametrize("make", [as_lines, as_csv, as_parquet])
Make = Callable[[Path, Rows], Path]
ROWS = [
    {"file_name": "train/1.png", "text": 'red, "hair"\nand more', "rating": "g", "score": 2},
    {"file_name": "./0.png", "text": "blue", "rating": "s", "score": 1},
]


@KINDS
def test_pictures_get_what_the_table_says_and_the_others_are_taken_behind_them(tmp_path: Path, make: Make) -> None:
    make(tmp_path, ROWS)
    for number, name in enumerate(("0.png", "train/1.png", "a.png")):
        write(tmp_path / name, png(number))
    found = items(tmp_path)
    assert [(item.uri.removeprefix(f"{tmp_path}/"), item.caption, item.rating, item.score) for item in found] == [
        ("train/1.png", 'red, "hair"\nand more', "g", 2.0),
        ("0.png", "blue", "s", 1.0),
        ("a.png", None, None, None),
    ]
    (read_as,) = notes(tmp_path).read_as
    assert "Hugging Face imagefolder, by its column file_name" in read_as.why
    assert read_as.not_read == ()


@KINDS
@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes])
def test_members_of_archives_get_what_the_table_says(
    tmp_path: Path, make: Make, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    suffix = "zip" if pack is zip_bytes else "tar"
    make(tmp_path, ROWS)
    write(tmp_path / f"images.{suffix}", pack({"0.png": png(0), "9.png": png(9)}))
    write(tmp_path / f"train.{suffix}", pack({"1.png": png(1)}))
    found = items(tmp_path)
    assert [(read_item(item).data, item.caption) for item in found] == [
        (png(1), 'red, "hair"\nand more'),
        (png(0), "blue"),
        (png(9), None),
    ]


def test_a_name_in_several_archives_is_nobodys(tmp_path: Path) -> None:
    json_lines(tmp_path / "metadata.jsonl", [{"file_name": "0.png", "text": "whose?"}, {"file_name": "b/0.png"}])
    for name in "ab":
        write(tmp_path / f"{name}.zip", zip_bytes({"0.png": png(ord(name))}))
    assert [item.caption for item in items(tmp_path) if "refused" not in item.detail] == [None, None]
    assert refusals_of(tmp_path) == {"metadata.jsonl#line 1": "line 1: 0.png is in several archives"}


def test_lines_without_a_picture_cost_themselves(tmp_path: Path) -> None:
    write(tmp_path / "0.png", png(0))
    lines = '{"file_name": "0.png"}\n{"file_name": "gone.png"}\nnot json\n{"text": "x"}\n{"file_name": "../0.png"}\n'
    write(tmp_path / "metadata.jsonl", lines + '{"file_name": "0.png", "text": "again"}\n')
    told = refusals_of(tmp_path)
    assert list(told) == [f"metadata.jsonl#line {number}" for number in (2, 3, 4, 5)]
    assert told["metadata.jsonl#line 2"].endswith("there is no gone.png in the folder or its archives")
    assert short(items(tmp_path))[:1] == ["0.png"]
    assert counts(tmp_path) == {"duplicate path": 1}


def test_a_table_of_which_not_one_picture_is_here_is_not_read_and_named(tmp_path: Path) -> None:
    json_lines(tmp_path / "metadata.jsonl", [{"file_name": f"elsewhere/{number}.png"} for number in range(3)])
    write(tmp_path / "0.png", png(0))
    assert short(items(tmp_path)) == ["0.png"]
    assert "metadata.jsonl (names of pictures that are not here" in notes(tmp_path).read_as[0].not_read[0]


def test_drawings_that_the_table_names_belong_to_their_picture_and_are_none_themselves(tmp_path: Path) -> None:
    for number, name in enumerate(("0.png", "lines/0.png", "masks/0.png")):
        write(tmp_path / name, png(number))
    line = {"file_name": "0.png", "sketch_file_name": "lines/0.png", "mask_file_name": "masks/0.png"}
    json_lines(tmp_path / "metadata.jsonl", [line])
    (item,) = items(tmp_path)
    data = read_item(item)
    assert (data.data, data.drawn_sketch, data.mask) == (png(0), png(1), png(2))


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("table", ["metadata.jsonl", "index.jsonl"])
def test_names_are_found_in_either_unicode_normal_form_and_with_backslashes(
    tmp_path: Path, on_disk: Any, written: Any, table: str
) -> None:
    name = "bücher/がぎ.png"
    write(tmp_path / unicodedata.normalize(on_disk, name), png(1))
    column = "file_name" if table.startswith("metadata") else "path"
    path = unicodedata.normalize(written, name).replace("/", "\\")
    json_lines(tmp_path / table, [{column: f".\\{path}", "caption": "books"}])
    for source in (tmp_path, tmp_path / table):
        (item,) = items(source)
        assert (read_item(item).data, item.caption) == (png(1), "books")


def test_a_column_of_the_table_groups(tmp_path: Path) -> None:
    json_lines(tmp_path / "metadata.jsonl", [{"file_name": "0.png", "album": 7}])
    write(tmp_path / "0.png", png(0))
    assert [item.group for item in items(tmp_path, Selection(group_by="album"))] == ["7"]


def test_several_folders_have_tables_of_their_own(tmp_path: Path) -> None:
    for split in ("test", "train"):
        json_lines(tmp_path / split / "metadata.jsonl", [{"file_name": "0.png", "text": split}])
        write(tmp_path / split / "0.png", png(0))
    assert [item.caption for item in items(tmp_path)] == ["test", "train"]
