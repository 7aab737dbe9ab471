"""A difference counts exactly what two snapshots do not share, whatever shards they lie in."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataprep.corpus.column_files import ColumnFile, ColumnWriter, describe, read_rows
from dataprep.corpus.snapshot import Contents, Snapshot, commit, open_snapshot
from dataprep.corpus_tools.diff import diff, parse_at
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import BROKEN, SMALL, write_broken, write_pictures

PICTURES = 14


def build(source: Path, out: Path, recipe: BuildRecipe = SMALL) -> str:
    run_build([str(source)], str(out), recipe, engine=in_process)
    return str(out)


def index_of(uri: str, number: int | None = None) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in open_snapshot(uri, number).table("index").to_pylist()}


def write_index(folder: Path, tags: dict[int, list[str]]) -> Path:
    """A source that says something about its pictures; only that differs between two calls."""
    lines = [{"path": f"p{n:04d}.png", "tags": tags.get(n, ["one"])} for n in range(PICTURES)]
    (folder / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "index.jsonl"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("source"), PICTURES)


@pytest.fixture(scope="module")
def corpus(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(source, tmp_path_factory.mktemp("corpus") / "out")


def test_equal_contents_in_other_shards_do_not_differ(corpus: str, source: Path, tmp_path: Path) -> None:
    other = build(source, tmp_path / "out", replace(SMALL, shard_rows=3))
    assert {row["shard"] for row in index_of(other).values()}.isdisjoint(
        row["shard"] for row in index_of(corpus).values()
    )
    found = diff(corpus, None, other, 1)
    assert found.is_empty
    assert found.summary().endswith("nothing differs")
    assert found.document()["equal"]
    assert diff(corpus, None, corpus, None).is_empty


def test_added_and_removed_rows_and_rejects_are_counted_by_split_and_reason(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", PICTURES)
    uri = build(source, tmp_path / "out")
    write_pictures(source, 5, first=PICTURES)
    write_broken(source)
    for number in (2, 9):
        (source / f"p{number:04d}.png").unlink()
    build(source, tmp_path / "out")
    before, after = index_of(uri, 1), index_of(uri, 2)
    found = diff(uri, 1, uri, 2)
    assert found.added == dict(Counter(after[row]["split"] for row in after.keys() - before.keys()))
    assert found.removed == dict(Counter(before[row]["split"] for row in before.keys() - after.keys()))
    assert (sum(found.added.values()), sum(found.removed.values())) == (5, 2)
    assert (found.rejects_added, found.rejects_removed) == ({"unreadable": 1}, {})
    assert (found.facts, found.columns, found.moved) == (0, {}, {})
    back = diff(uri, 2, uri, 1)
    assert (back.added, back.removed, back.rejects_removed) == (found.removed, found.added, {"unreadable": 1})
    (source / BROKEN).unlink()


def test_another_setting_changes_the_columns_that_depend_on_it_in_every_row(
    corpus: str, source: Path, tmp_path: Path
) -> None:
    recipe = replace(SMALL, xdog=replace(SMALL.xdog, tau=0.99))
    other = build(source, tmp_path / "out", recipe)
    found = diff(corpus, None, other, None)
    operators = [open_snapshot(uri).document["operators"] for uri in (corpus, other)]
    assert set(found.columns) == {"sketch_xdog", "region_map"}
    for column, change in found.columns.items():
        assert (change.old, change.new) == tuple(known[column]["fingerprint"] for known in operators)
        assert change.rows == PICTURES
    assert (found.added, found.removed, found.facts) == ({}, {}, 0)
    document = json.loads(json.dumps(found.document()))
    assert document["columns"]["region_map"]["rows"] == PICTURES
    assert not document["equal"]
    assert "column sketch_xdog: 14 rows with other cells" in found.summary()


def test_rows_of_which_the_source_says_something_else_are_counted(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", PICTURES)
    uri = build(write_index(source, {}), tmp_path / "out")
    build(write_index(source, {3: ["two"], 8: []}), tmp_path / "out")
    assert diff(uri, 1, uri, 2).facts == 2
    other = build(write_index(source, {3: ["two"], 8: [], 9: ["six"]}), tmp_path / "b", replace(SMALL, shard_rows=3))
    assert diff(uri, 1, other, None).facts == 3
    assert (diff(uri, 1, other, None).columns, diff(uri, 1, other, None).added) == ({}, {})


def test_rows_that_changed_their_split_are_told(corpus: str, source: Path, tmp_path: Path) -> None:
    other = build(source, tmp_path / "out", replace(SMALL, validation_share=0.6))
    before, after = index_of(corpus), index_of(other)
    moves = Counter(f"{before[row]['split']} to {after[row]['split']}" for row in before)
    expected = {move: rows for move, rows in moves.items() if move == "train to validation"}
    found = diff(corpus, None, other, None)
    assert found.moved == expected
    assert (found.facts, found.added) == (sum(expected.values()), {})
    assert expected


def with_failure(uri: str, column: str, number: int = 0) -> tuple[Snapshot, str]:
    """A next snapshot in which the operator failed on the first row of a file; and that row's id."""
    before = open_snapshot(uri)
    files = [ColumnFile(**fields) for fields in before.table("files").to_pylist()]
    victim = [file for file in files if file.column == column][number]
    rows = list(read_rows((Path(uri) / victim.path).read_bytes(), column, "v"))
    writer = ColumnWriter(column)
    for position, row in enumerate(rows):
        writer.add(row["id"], row[column] if position else None, None if position else "no luck")
    path = victim.path.replace(".parquet", "-x.parquet")
    (Path(uri) / path).write_bytes(writer.finish())
    made = describe(path, victim.split, victim.shard, column, victim.fingerprint, writer.finish())
    facts = before.document
    tables = before.table("index"), before.table("rejects")
    contents = Contents(
        [made if file == victim else file for file in files],
        *tables,
        facts["operators"],
        facts["sources"],
        facts["recipe"],
    )
    return commit(uri, contents, before)[0], rows[0]["id"]


def test_a_cell_that_failed_on_one_side_is_one_row_in_the_same_shard_or_another(source: Path, tmp_path: Path) -> None:
    uri = build(source, tmp_path / "a")
    other = build(source, tmp_path / "b", replace(SMALL, shard_rows=3))
    with_failure(uri, "region_map")
    for found in (diff(uri, 1, uri, 2), diff(uri, 2, other, 1), diff(other, 1, uri, 2)):
        change = found.columns["region_map"]
        assert change.rows == 1
        assert change.old == change.new
        assert list(found.columns) == ["region_map"]
        assert "1 rows with other cells, operator still" in found.summary()


def test_a_column_that_one_side_lacks_is_named(corpus: str, tmp_path: Path) -> None:
    snapshot = open_snapshot(corpus)
    fewer = {name: facts for name, facts in snapshot.document["operators"].items() if name != "mask"}
    files = [ColumnFile(**fields) for fields in snapshot.table("files").to_pylist()]
    contents = Contents(
        [file for file in files if file.column != "mask"],
        snapshot.table("index"),
        snapshot.table("rejects"),
        fewer,
        [],
        {},
    )
    commit(str(tmp_path), contents, None)
    change = diff(corpus, None, str(tmp_path), None).columns["mask"]
    assert (change.new, change.files) == (None, len([file for file in files if file.column == "mask"]))
    assert diff(str(tmp_path), None, corpus, None).columns["mask"].old is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a/b", ("a/b", None)),
        ("a/b@3", ("a/b", 3)),
        ("a@2/b", ("a@2/b", None)),
        ("a@", ("a@", None)),
        ("@7", ("@7", None)),
        ("a@b@7", ("a@b", 7)),
        ("a@7/", ("a", 7)),
    ],
)
def test_an_address_names_its_snapshot_behind_the_last_at(address: str, expected: tuple[str, int | None]) -> None:
    assert parse_at(address) == expected


def test_a_folder_whose_own_name_ends_in_a_number_is_meant_whole(tmp_path: Path) -> None:
    folder = tmp_path / "c@2024"
    assert parse_at(str(folder)) == (str(tmp_path / "c"), 2024)
    folder.mkdir()
    assert parse_at(str(folder)) == (str(folder), None)
    assert parse_at(f"{folder}@3") == (str(folder), 3)
