"""Verify at the edges of a snapshot: what its tables say is checked against itself and against the files."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprep.corpus.shard_files import ShardIds, shards
from dataprep.corpus.snapshot import Contents, commit
from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.errors import DataError
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_pictures


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    run_build([str(write_pictures(folder / "source", 12))], str(folder / "out"), SMALL, engine=in_process)
    return folder / "out"


@pytest.fixture
def corpus(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


def contents_of(corpus: Path) -> Contents:
    snapshot = open_snapshot(str(corpus))
    files = [file for shard in shards(snapshot) for file in shard.files.values()]
    facts = snapshot.document
    return Contents(
        files, snapshot.table("index"), snapshot.table("rejects"), facts["operators"], facts["sources"], facts["recipe"]
    )


def with_column(index: pa.Table, name: str, values: list[object]) -> pa.Table:
    at = index.schema.get_field_index(name)
    return index.set_column(at, index.schema.field(name), pa.array(values, index.schema.field(name).type))


# ---- shards -------------------------------------------------------------------------------------------------------


def test_the_ids_of_each_shard_are_those_of_a_plain_grouping(built: Path) -> None:
    snapshot = open_snapshot(str(built))
    index = snapshot.table("index")
    grouped: dict[tuple[str, str], dict[int, str]] = {}
    for row in index.to_pylist():
        grouped.setdefault((row["split"], row["shard"]), {})[row["position"]] = row["id"]
    shuffled = ShardIds(index.take(np.random.default_rng(0).permutation(len(index))))
    assert set(shuffled.keys()) == set(grouped)
    for key, ids in grouped.items():
        assert shuffled.of(*key) == [ids[position] for position in sorted(ids)]
    assert shuffled.of("train", "nowhere") == []


def test_shards_come_once_each_with_all_their_files(built: Path) -> None:
    snapshot = open_snapshot(str(built))
    found = [(shard.split, shard.shard, column) for shard in shards(snapshot) for column in shard.files]
    rows = snapshot.table("files").to_pylist()
    assert sorted(found) == sorted((row["split"], row["shard"], row["column"]) for row in rows)
    assert [shard.split for shard in shards(snapshot, "train")] == ["train"] * len(list(shards(snapshot, "train")))


# ---- tables that do not agree --------------------------------------------------------------------------------------


def row_twice(mine: Contents) -> Contents:
    return replace(mine, index=pa.concat_tables([mine.index.slice(0, 1), mine.index]))


def position_doubled(mine: Contents) -> Contents:
    positions = mine.index["position"].to_pylist()
    return replace(mine, index=with_column(mine.index, "position", [max(0, position - 1) for position in positions]))


def shard_without_files(mine: Contents) -> Contents:
    gone = mine.files[0].shard
    return replace(mine, files=[file for file in mine.files if file.shard != gone])


def shard_without_a_column(mine: Contents) -> Contents:
    return replace(mine, files=mine.files[1:])


def rows_in_a_wrong_shard(mine: Contents) -> Contents:
    names = mine.index["shard"].to_pylist()
    one, other = [name for name in dict.fromkeys(names) if names.count(name) == 4][:2]
    swapped = [{one: other, other: one}.get(name, name) for name in names]
    return replace(mine, index=with_column(mine.index, "shard", swapped))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (row_twice, "is there twice or out of order"),
        (position_doubled, "are not 0 to 3, each once"),
        (shard_without_files, "has no files"),
        (shard_without_a_column, "lacks its columns"),
        (rows_in_a_wrong_shard, "out of line with the snapshot's index"),
    ],
)
def test_tables_that_do_not_agree_are_named(corpus: Path, damage: Callable[[Contents], Contents], said: str) -> None:
    """The hashes of these tables are right: somebody committed them so."""
    snapshot, is_new = commit(str(corpus), damage(contents_of(corpus)), open_snapshot(str(corpus)))
    if not is_new:  # the digest does not see it: put the table in place by hand
        document = snapshot.document | {"tables": _tables(corpus, damage(contents_of(corpus)))}
        (corpus / "snapshots" / "1.json").write_text(json.dumps(document))
    found = verify(str(corpus))
    assert found
    assert any(said in line for line in found), found
    assert all(line.startswith(("snapshots/", "data/")) for line in found)


def _tables(corpus: Path, contents: Contents) -> dict[str, object]:
    """The tables of a snapshot of these contents, committed elsewhere and carried over."""
    other = corpus.parent / "elsewhere"
    commit(str(other), contents, None)
    shutil.copytree(other / "snapshots", corpus / "snapshots", dirs_exist_ok=True, ignore=lambda *_: ["1.json"])
    return dict(open_snapshot(str(other)).document["tables"])


# ---- a document that was edited -----------------------------------------------------------------------------------


def leaves(value: object, *keys: str | int) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """(keys, value) of every number, text and truth value in a document."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in entries:
            yield from leaves(entry, *keys, key)
    elif value is not None:
        yield keys, value


def edited(document: dict[str, Any], keys: tuple[str | int, ...], value: object) -> dict[str, Any]:
    changed = json.loads(json.dumps(document))
    *outer, last = keys
    at = changed
    for key in outer:
        at = at[key]
    at[last] = value
    return dict(changed)


def findings(corpus: Path) -> list[str]:
    """What verify says, be it that it refuses the document."""
    try:
        return verify(str(corpus))
    except DataError as error:
        return [str(error)]


@pytest.mark.seconds
def test_every_edited_value_of_a_document_is_found(corpus: Path) -> None:
    path = corpus / "snapshots" / "1.json"
    document = json.loads(path.read_text())
    places = list(leaves(document))
    assert len(places) > 100
    rng = np.random.default_rng(0)  # a verification takes a tenth of a second: every tenth place, and all counts
    counts = [place for place in places if place[0][0] in ("rows", "rejects", "failures", "bytes", "tables", "digest")]
    for keys, value in (*counts, *(places[at] for at in rng.choice(len(places), len(places) // 10, replace=False))):
        other = value + 1 if isinstance(value, int | float) and not isinstance(value, bool) else f"{value}0"
        path.write_text(json.dumps(edited(document, keys, not value if isinstance(value, bool) else other)))
        assert findings(corpus), keys
    path.write_text(json.dumps(document))
    assert verify(str(corpus)) == []


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("rows", "train"), 7000, "its rows are {'train': 7000"),
        (("rejects",), {"blank": 4}, "its rejects are {'blank': 4}"),
        (("bytes",), 1, "its bytes are 1, "),
        (("failures",), {"mask": 1}, "its failures are {'mask': 1}"),
        (("tables", "index", "rows"), 13, "its tables.index.rows are 13, those of its tables 12"),
        (("operators", "color", "version"), 99, "the fingerprint of operators.color is not that of"),
    ],
)
def test_a_count_is_named_also_in_a_snapshot_that_has_no_hash_of_itself(
    corpus: Path, keys: tuple[str, ...], value: object, said: str
) -> None:
    path = corpus / "snapshots" / "1.json"
    document = json.loads(path.read_text())
    del document["sha256"]  # as version 0.1 wrote it
    path.write_text(json.dumps(document))
    assert verify(str(corpus)) == []
    path.write_text(json.dumps(edited(document, keys, value)))
    (line,) = verify(str(corpus))
    assert line.startswith(f"snapshots/1.json: {said}")


# ---- a snapshot cut short -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 1, 100, -2])
def test_a_document_cut_short_anywhere_is_one_clear_line(corpus: Path, kept: int) -> None:
    path = corpus / "snapshots" / "1.json"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"1\.json: damaged") as said:
        verify(str(corpus))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("field", ["digest", "tables", "operators", "rows"])
def test_a_document_that_lacks_a_part_is_one_clear_line(corpus: Path, field: str) -> None:
    path = corpus / "snapshots" / "1.json"
    document = json.loads(path.read_text())
    del document[field]
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=rf"1\.json: damaged \(no {field}\)"):
        verify(str(corpus))


@pytest.mark.parametrize("table", ["files", "index", "rejects"])
@pytest.mark.parametrize("kept", [0, 10, -8])
def test_a_table_cut_short_is_one_clear_line(corpus: Path, table: str, kept: int) -> None:
    facts = open_snapshot(str(corpus)).document["tables"][table]
    path = corpus / facts["path"]
    path.write_bytes(path.read_bytes()[:kept])
    (line,) = verify(str(corpus))
    assert line == f"{facts['path']}: {path.stat().st_size} bytes, {facts['bytes']} were written"


def test_an_older_snapshot_is_verified_by_its_number(corpus: Path) -> None:
    mine = contents_of(corpus)
    commit(str(corpus), replace(mine, files=mine.files[1:]), open_snapshot(str(corpus)))
    assert verify(str(corpus), 1) == []
    assert verify(str(corpus), 2) != []
