"""Documents from elsewhere are read into the types that are expected, or refused in one line with file and key."""

import json
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from dataprep.documents import DocumentError, checked, json_lines, parse_document, parse_json, read_document
from dataprep.errors import DataError
from tests.hostile_documents import assert_refused_or_read


class Inner(TypedDict):
    count: int
    share: NotRequired[float | None]


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"]
    inner: Inner
    sizes: tuple[int, ...] = ()
    place: tuple[int, int] = (0, 0)
    more: Any = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a name is needed")


SOUND: dict[str, Any] = {
    "name": "n",
    "kind": "a",
    "inner": {"count": 1, "share": None},
    "sizes": [1, 2],
    "place": [3, 4],
    "more": {"any": [None]},
}


def said(data: str | bytes) -> str:
    with pytest.raises(DocumentError) as refused:
        parse_document(data, Outer, "here.json")
    return str(refused.value)


def test_a_sound_document_becomes_the_type() -> None:
    read = parse_document(json.dumps(SOUND), Outer, "here.json")
    assert read == Outer("n", "a", {"count": 1, "share": None}, (1, 2), (3, 4), {"any": [None]})
    assert parse_document(b"\xef\xbb\xbf" + json.dumps(SOUND).encode(), Outer, "") == read


def test_every_hostile_document_is_one_line_with_the_file() -> None:
    counts = assert_refused_or_read(SOUND, lambda data: parse_document(data, Outer, "here.json"), "here.json")
    assert counts["refused"] > 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "name should be text, not null"),
        ({"name": ""}, "a name is needed"),
        ({"kind": "c"}, 'kind should be a or b, not "c"'),
        ({"inner": {"count": "1"}}, 'inner.count should be a whole number, not "1"'),
        ({"inner": {"count": True}}, "inner.count should be a whole number, not true"),
        ({"inner": {}}, "inner has no count"),
        ({"inner": {"count": 1, "share": "x"}}, 'inner.share should be a number, not "x"'),
        ({"sizes": [1, 2.5]}, "sizes[1] should be a whole number, not 2.5"),
        ({"place": [1]}, "place should be a list of 2, not [1]"),
        ({"colour": 1}, "colour is not known here"),
    ],
)
def test_the_message_names_the_key(change: dict[str, Any], message: str) -> None:
    assert said(json.dumps(SOUND | change)) == f"here.json: {message}"


def test_a_missing_key_and_one_that_is_there_twice_are_named() -> None:
    assert said("{}") == "here.json: no inner, kind, name"
    assert said('{"name": "n", "name": "m"}') == "here.json: not JSON: the key 'name' is there twice"


def test_keys_of_a_later_version_are_let_through_where_the_type_is_open() -> None:
    assert checked({"count": 1, "new": [1]}, Inner, "") == {"count": 1, "new": [1]}


def test_the_bytes_of_a_file_s_name_may_stay_as_python_writes_them() -> None:
    assert parse_json(b'"\\udcfe.png"', "here", file_names=True) == "\udcfe.png"
    assert parse_json(b'"\\ud83d.png"', "here", file_names=True) == "?.png"


def test_half_a_character_becomes_a_question_mark() -> None:
    assert parse_json('{"\\ud800": "a\\udfffb"}', "") == {"?": "a?b"}


def test_numbers_that_are_none_are_refused() -> None:
    for text in ("NaN", "Infinity", "1e999", "1" + "0" * 400):
        with pytest.raises(DocumentError, match="share should be a number"):
            parse_document(f'{{"count": 1, "share": {text}}}', Inner, "x")


def test_lines_are_named_by_their_number() -> None:
    assert json_lines(b'{"a": 1}\n\n[2]\n', "x") == [{"a": 1}, [2]]
    with pytest.raises(DocumentError, match=r"x, line 3: not JSON"):
        json_lines(b'{"a": 1}\n\n{"a"\n', "x")


def test_a_document_larger_than_any_of_ours_is_not_read(tmp_path: Any) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # sparse
    with pytest.raises(DataError, match=r"big\.json: the file has 1,073,741,824 bytes"):
        read_document(str(path), Inner)
