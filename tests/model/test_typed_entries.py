"""A checkpoint's entries and other documents are refused alike: two readers, since neither package knows the other."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict, get_type_hints

import pytest

from dataprep import documents
from model import typed_entries
from model.checkpoint import CheckpointMetadata
from model.families.registry import family
from tests.hostile_documents import hostile


@dataclass(frozen=True)
class Kinds:
    """Every type that an entry can have."""

    text: str = "t"
    number: float = 0.5
    whole: int = 3
    truth: bool = True
    choice: Literal["a", "b"] = "a"
    text_or_null: str | None = None
    number_or_null: float | None = 0.5
    number_or_text: float | str = "x"
    choice_or_number: Literal["a", "b"] | int = 1
    wholes: tuple[int, ...] = (1, 2)
    lists_or_null: tuple[tuple[float, ...], ...] | None = ((1.0,), (2.0, 3.0))
    anything: Any = None


SOUND: dict[str, Any] = {
    "all types": Kinds(),
    "checkpoint": CheckpointMetadata(stage="v1.noisy", size="tiny", network={"depth": [1, 2]}),
    "network": next(iter(family("v1").sizes.values())),
}
# Beside the mutations that every kind of document is held to.
FURTHER = [
    b'{"whole": 9223372036854775807}',
    b'{"whole": 9223372036854775808}',
    b'{"whole": 1.0}',
    b'{"number": 1' + b"0" * 5000 + b"}",
    b'{"number": 7}',
    b'{"choice": 1}',
    b'{"wholes": [1, true]}',
    b'{"lists_or_null": [[1], [2, "x"]]}',
    b'{"choice_or_number": "' + b"c" * 200 + b'"}',
    b'{"anything": {"x": [{"y": 1, "y": 2}]}}',
    b'{"anything": ' + b"[" * 63 + b"]" * 63 + b"}",
    b'{"anything": ' + b"[" * 64 + b"]" * 64 + b"}",
    b'{"text": "\\ud800 \\ud83d\\ude00"}',
    b'{"\\ud800": "text"}',
    b"\xef\xbb\xbf\xef\xbb\xbf{}",
]


def by_documents(data: bytes, kind: type) -> Any:
    """What `dataprep.documents` says: further keys and absent ones are let through, as by `check_types`."""
    entries: Any = TypedDict("entries", get_type_hints(kind), total=False)  # type: ignore[misc]
    try:
        return comparable(documents.parse_document(data, entries, "here"))
    except documents.DocumentError as error:
        return f"refused: {str(error).removeprefix('here: ')}"


def by_typed_entries(data: bytes, kind: type) -> Any:
    try:
        found = typed_entries.json_entries(data)
        typed_entries.check_types(kind, found)
    except ValueError as error:
        return f"refused: {error}"
    return comparable(found)


def comparable(found: Any) -> Any:
    """Tuples as lists, and numbers that are none as text, which is equal to itself."""
    return json.loads(json.dumps(found), parse_constant=str)


@pytest.mark.parametrize("name", SOUND)
def test_both_readers_refuse_the_same_in_the_same_words_and_read_the_same(name: str) -> None:
    kind, document = type(SOUND[name]), json.loads(json.dumps(asdict(SOUND[name])))
    assert by_typed_entries(json.dumps(document).encode(), kind) == document
    mutations = [*hostile(document, most_entries=99), *((repr(data), data) for data in FURTHER)]
    found = [(label, by_documents(data, kind), by_typed_entries(data, kind)) for label, data in mutations]
    assert [one for one in found if one[1] != one[2]] == []
    assert sum(str(said).startswith("refused: ") for _, _, said in found) > 50


def test_the_doubled_key_and_the_place_in_a_list_are_named() -> None:
    assert by_typed_entries(b'{"a": 1, "a": 2}', Kinds) == "refused: not JSON: the key 'a' is there twice"
    assert by_typed_entries(b'{"wholes": [1, 2.5]}', Kinds) == "refused: wholes[1] should be a whole number, not 2.5"
    with pytest.raises(ValueError, match=r"^network\.whole should be a whole number, not null$"):
        typed_entries.check_types(Kinds, {"whole": None}, "network")
