"""Counting the rows of a corpus, against counts made by hand over every row."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from dataprep.corpus.column_files import ColumnWriter, write_table
from dataprep.corpus.schema import FILE_SCHEMA
from dataprep.corpus.snapshot import Snapshot, open_snapshot
from dataprep.corpus_tools.survey import RowPicker, failures, look_up, reject_examples, survey
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_broken, write_pictures


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_pictures(tmp_path_factory.mktemp("survey") / "pictures", 22)
    names = sorted(path.name for path in folder.iterdir())
    lines = [
        {"path": name, "group": f"g{number % 5}", "tags": ["all", f"third-{number % 3}"]}
        for number, name in enumerate([*names, write_broken(folder).name])
    ]
    (folder / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    run_build([str(folder)], str(folder.parent / "corpus"), SMALL, engine=in_process)
    return str(folder.parent / "corpus")


def test_every_row_is_counted_once(corpus: str) -> None:
    snapshot = open_snapshot(corpus)
    seen, picker = survey(snapshot), RowPicker(snapshot)
    rows = [picker.row(where) for where in snapshot.table("index").to_pylist()]
    assert seen.shards_read == seen.shards == len({row["shard"] for row in snapshot.table("index").to_pylist()})
    assert Counter(seen.rows["group"].to_pylist()) == Counter(row["group"] for row in rows)
    assert Counter(seen.rows["split"].to_pylist()) == snapshot.document["rows"]
    assert sum(seen.rows["width"].to_pylist()) == sum(row["width"] for row in rows)
    tags = Counter(tag for row in rows for tag in row["tags"])
    assert dict(zip(seen.tags["tag"].to_pylist(), seen.tags["count"].to_pylist(), strict=True)) == tags
    assert seen.tags["tag"][0].as_py() == "all"


def test_above_the_limit_a_seeded_choice_of_shards_is_read(corpus: str) -> None:
    snapshot = open_snapshot(corpus)
    some, same, other = (survey(snapshot, 2, seed) for seed in (3, 3, 4))
    assert some.shards_read == 2 < some.shards
    assert some.rows.equals(same.rows)
    assert set(some.rows["shard"].to_pylist()) != set(other.rows["shard"].to_pylist())
    assert survey(snapshot, 0).shards_read == some.shards


def test_a_shard_that_cannot_be_read_is_told_and_the_others_are_counted(corpus: str) -> None:
    snapshot = open_snapshot(corpus)
    path = Path(corpus, next(row["path"] for row in snapshot.table("files").to_pylist() if row["column"] == "row"))
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        seen = survey(snapshot)
    finally:
        path.write_bytes(whole)
    assert seen.shards_read == seen.shards - 1
    assert str(path) in seen.unread[0]


def test_one_pass_over_the_index_draws_finds_and_counts(corpus: str) -> None:
    snapshot = open_snapshot(corpus)
    index = snapshot.table("index").to_pylist()
    view = look_up(snapshot, 5, [index[2]["id"], "0" * 64], seed=1)
    assert len({row["id"] for row in view.picked}) == 5
    assert view.found.keys() == {index[2]["id"]}
    assert view.found[index[2]["id"]]["position"] == index[2]["position"]
    assert view.buckets == Counter((row["split"], row["bucket"]) for row in index)
    assert len(look_up(snapshot, 10_000, []).picked) == len(index)


def test_every_reason_shows_some_of_its_rejects(corpus: str) -> None:
    snapshot = open_snapshot(corpus)
    examples = reject_examples(snapshot, 1)
    assert examples.keys() == snapshot.document["rejects"].keys()
    assert examples["unreadable"][0]["source"].endswith("broken.png")


def test_failures_are_counted_by_reason_with_examples(corpus: str, tmp_path: Path) -> None:
    writer = ColumnWriter("mask")
    for row_id, error in (("a" * 64, "timeout: 60 s"), ("b" * 64, None), ("c" * 64, "timeout: 61 s")):
        writer.add(row_id, None, error)
    path, gone = "data/train/0a/mask-0.parquet", "data/train/0b/mask-0.parquet"
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(writer.finish())
    known = open_snapshot(corpus).table("files").to_pylist()[0]
    lines = [known | {"column": "mask", "path": path, "failed": 2, "reasons": '{"timeout": 2}'}]
    lines += [lines[0] | {"path": gone, "failed": 1, "reasons": '{"timeout": 1}'}, known]
    (tmp_path / "files.parquet").write_bytes(write_table(pa.Table.from_pylist(lines, FILE_SCHEMA)))
    (found,) = failures(Snapshot(str(tmp_path), 1, {"tables": {"files": {"path": "files.parquet"}}}))
    assert (found.column, found.reason, found.count) == ("mask", "timeout", 3)
    assert found.examples == ("aaaaaaaaaaaa: timeout: 60 s", "cccccccccccc: timeout: 61 s")
