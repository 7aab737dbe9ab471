"""What files beside a picture say: gallery-dl, img2dataset, kohya, and files that could be anybody's."""

import json
from pathlib import Path
from typing import Any

import pytest

from dataprep.sources.beside.side_files import tags_of_text
from tests.dataprep.sources.source_helpers import counts, items, notes, png, write

POST = {
    "id": 7,
    "tags": ["1girl", "ann"],
    "rating": "g",
    "score": 10,
    "image_width": 200,
    "image_height": 160,
    "tag_string_general": "1girl solo",
    "tag_string_artist": "ann",
}


@pytest.mark.parametrize("name", ["0.png.json", "0.json"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_post_beside_its_picture_is_read_as_one(tmp_path: Path, name: str, mark: bytes) -> None:
    write(tmp_path / "0.png", png(0))
    write(tmp_path / name, mark + json.dumps(POST).encode())
    (item,) = items(tmp_path)
    assert (item.tags, item.rating, item.score) == (("1girl", "solo", "artist:ann"), "g", 10.0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_img2dataset_files_bring_their_captions(tmp_path: Path, encoding: str) -> None:
    write(tmp_path / "00000" / "000000000.jpg", png(0))
    facts = {"url": "http://h/a.jpg", "caption": "a häß", "key": "000000000", "status": "success", "width": 8}
    write(tmp_path / "00000" / "000000000.json", json.dumps(facts, ensure_ascii=False).encode(encoding))
    write(tmp_path / "00000_stats.json", b'{"count": 1}')
    assert [item.caption for item in items(tmp_path)] == ["a häß"]


def test_a_caption_file_of_kohya_is_caption_and_tags(tmp_path: Path) -> None:
    write(tmp_path / "10_girl" / "0.png", png(0))
    write(tmp_path / "10_girl" / "0.txt", "1girl, solo, red hair\n")
    write(tmp_path / "1.png", png(1))
    write(tmp_path / "1.caption", "A girl stands in the rain, and waits.")
    second, first = items(tmp_path)
    assert (first.caption, first.tags) == ("1girl, solo, red hair", ("1girl", "solo", "red hair"))
    assert (second.caption, second.tags) == ("A girl stands in the rain, and waits.", ())


@pytest.mark.parametrize(
    ("said", "folder", "tags"),
    [
        ("1girl, solo, red hair", "any", ["1girl", "solo", "red hair"]),
        ("1girl", "10_girl", ["1girl"]),
        ("1girl, solo", "any", None),
        ("a girl, who stands in the rain, waits", "10_girl", None),
        ("a girl, a boy, a dog.", "any", None),
        ("one, two, three\nfour, five, six", "any", None),
        ("", "10_girl", None),
    ],
)
def test_a_text_is_tags_only_where_it_lists_them(said: str, folder: str, tags: list[str] | None) -> None:
    assert tags_of_text(said, folder) == tags


def test_a_side_file_that_two_pictures_share_is_given_to_neither(tmp_path: Path) -> None:
    write(tmp_path / "a.png", png(0))
    write(tmp_path / "a.jpg", png(1))
    write(tmp_path / "a.json", '{"caption": "whose?"}')
    write(tmp_path / "a.txt", "whose?")
    write(tmp_path / "a.jpg.json", '{"rating": "g"}')
    assert [(item.caption, item.rating) for item in items(tmp_path)] == [(None, "g"), (None, None)]
    found = notes(tmp_path)
    assert found.unread_facts == {".txt file": 2, ".json file": 1}
    assert found.examples[".txt file"] == f"{tmp_path}/a.txt: several pictures have its name"


@pytest.mark.parametrize(
    "said", [b"[1, 2]", b"not json", b"", b"[" * 200_000, b'{"caption": "' + b"x" * (2 << 20) + b'"}']
)
def test_a_side_file_that_cannot_be_read_costs_nothing_but_itself(tmp_path: Path, said: bytes) -> None:
    write(tmp_path / "a.png", png(0))
    write(tmp_path / "a.json", said)
    write(tmp_path / "a.txt", b"kept")
    (item,) = items(tmp_path)
    assert item.caption == "kept"
    assert notes(tmp_path).unread_facts == {".json file": 1}


def test_a_json_file_about_something_else_says_nothing(tmp_path: Path) -> None:
    other: dict[str, Any] = {"shapes": [{"label": "hand", "points": [[1, 2]]}], "imagePath": "a.png", "version": "5.0"}
    write(tmp_path / "a.png", png(0))
    (before,) = items(tmp_path)
    write(tmp_path / "a.json", json.dumps(other))
    assert items(tmp_path) == [before]
    assert counts(tmp_path) == {}
    assert notes(tmp_path).unread_facts == {}
