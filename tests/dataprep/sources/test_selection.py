"""Which candidates a selection takes, against a rule worked out row by row in plain Python."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprep.corpus.schema import LISTING_SCHEMA, SCAN_SCHEMA
from dataprep.errors import DataError
from dataprep.sources import Selection, list_batches
from dataprep.sources.choose import choose
from dataprep.sources.items import CANDIDATES
from tests.dataprep.sources.source_helpers import counts, items, json_lines, short

TAGS = ("smile", "hat", "meta:highres", "watermark")


def candidates(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows in which everything is missing now and then."""
    rng = np.random.default_rng(seed)

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.15 else value

    return [
        {
            "uri": f"/p/{row}.png",
            "kind": "file",
            "detail": "",
            "tags": maybe([tag for tag in TAGS if rng.random() < 0.4]),
            "rating": maybe(str(rng.choice(list("gsqe")))),
            "score": maybe(float(rng.integers(-5, 20))),
            "width": maybe(int(rng.integers(100, 2000))),
            "height": maybe(int(rng.integers(100, 2000))),
            "date": maybe(f"20{rng.integers(10, 25)}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}"),
            "deleted": maybe(bool(rng.random() < 0.1)),
            "banned": maybe(bool(rng.random() < 0.1)),
        }
        for row in range(count)
    ]


SELECTIONS = [
    Selection(),
    Selection(take_deleted=True, take_banned=True),
    Selection(all_tags=("smile", "hat")),
    Selection(any_tags=("smile", "meta:highres"), no_tags=("watermark",)),
    Selection(ratings=("g", "s"), min_score=0, max_score=10),
    Selection(min_side=300, max_side=1500),
    Selection(date_from="2015-06", date_to="2020"),
    Selection(no_tags=("hat",), ratings=("e",), min_side=200, date_from="2012-03-04", min_score=-2),
]


def is_taken(row: dict[str, Any], rule: Selection) -> bool:
    tags, sides = row["tags"], [row["width"], row["height"]]
    if (row["deleted"] and not rule.take_deleted) or (row["banned"] and not rule.take_banned):
        return False
    asked = rule.all_tags or rule.any_tags or rule.no_tags
    if asked and (tags is None or not set(rule.all_tags) <= set(tags) or set(rule.no_tags) & set(tags)):
        return False
    if rule.any_tags and not set(rule.any_tags) & set(tags):
        return False
    if rule.ratings and row["rating"] not in rule.ratings:
        return False
    for low, high, value in (
        (rule.min_score, rule.max_score, row["score"]),
        (rule.min_side, None, None if None in sides else min(sides)),
        (None, rule.max_side, None if None in sides else max(sides)),
    ):
        if value is None:
            if low is not None or high is not None:
                return False
        elif (low is not None and value < low) or (high is not None and value > high):
            return False
    day = row["date"]
    if (rule.date_from or rule.date_to) and day is None:
        return False
    return not (rule.date_from and day[: len(rule.date_from)] < rule.date_from) and not (
        rule.date_to and day[: len(rule.date_to)] > rule.date_to
    )


@pytest.mark.parametrize("rule", SELECTIONS)
def test_a_selection_takes_what_its_rules_say_and_counts_the_rest(rule: Selection) -> None:
    rows = candidates(2000, 7)
    counted: Counter[str] = Counter()
    chosen = choose(pa.Table.from_pylist(rows, CANDIDATES), rule, counted)
    expected = [row["uri"] for row in rows if is_taken(row, rule)]
    assert chosen["uri"].to_pylist() == expected
    assert chosen["tags"].to_pylist() == [row["tags"] or [] for row in rows if is_taken(row, rule)]
    assert counted.total() == len(rows) - len(expected)


def test_what_lacks_the_value_that_a_rule_asks_for_is_counted_so() -> None:
    bare = pa.Table.from_pylist([{"uri": "/p/a.png", "kind": "file", "detail": ""}], CANDIDATES)
    for rule, word in (
        (Selection(no_tags=("hat",)), "tags unknown"),
        (Selection(ratings=("g",)), "rating unknown"),
        (Selection(min_score=1), "score unknown"),
        (Selection(max_side=9), "size unknown"),
        (Selection(date_to="2020"), "date unknown"),
    ):
        counted: Counter[str] = Counter()
        assert len(choose(bare, rule, counted)) == 0
        assert +counted == {word: 1}


def test_the_counts_name_the_first_rule_that_drops(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"path": "/p/a.png", "rating": "e", "score": 1, "tags": []},
        {"path": "/p/b.png", "rating": "g", "score": 1, "tags": []},
        {"path": "/p/c.png", "rating": "g", "score": 9, "tags": ["hat"]},
        {"path": "/p/d.png", "rating": "g", "score": None, "tags": ["hat"]},
    ]
    source = json_lines(tmp_path / "i.jsonl", rows)
    rule = Selection(ratings=("g",), min_score=5)
    assert short(items(source, rule)) == ["c.png"]
    assert counts(source, rule) == {"ratings": 1, "min_score": 1, "score unknown": 1}


def test_a_selection_that_leaves_nothing_says_why(tmp_path: Path) -> None:
    source = json_lines(tmp_path / "i.jsonl", [{"path": "/p/a.png", "rating": "e"}, {"path": "/p/b.png"}])
    with pytest.raises(DataError, match=r"not one picture is selected \(rating unknown 1, ratings 1\)"):
        items(source, Selection(ratings=("g",)))


def test_a_group_column_that_no_picture_has_is_refused(tmp_path: Path) -> None:
    source = json_lines(tmp_path / "i.jsonl", [{"path": "/p/a.png", "story": "x"}])
    assert items(source, Selection(group_by="story"))[0].group == "x"
    with pytest.raises(DataError, match="not one picture has a group by 'stroy'"):
        items(source, Selection(group_by="stroy"))


def test_a_listing_has_the_columns_of_a_scan_before_it_was_read(tmp_path: Path) -> None:
    source = json_lines(tmp_path / "i.jsonl", [{"path": "/p/a.png"}])
    (table,) = list_batches(str(source))
    assert table.schema == LISTING_SCHEMA
    assert ["item", *table.schema.names[1:]] == SCAN_SCHEMA.names[: len(LISTING_SCHEMA)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"date_from": "05/06/2020"},
        {"date_to": "2020-1"},
        {"min_score": 5, "max_score": 4},
        {"min_side": 5, "max_side": 4},
        {"group_by": ""},
    ],
)
def test_a_selection_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Selection(**wrong)
