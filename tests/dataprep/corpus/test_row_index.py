"""The arrays of a row index say what the snapshot's index table says."""

from pathlib import Path

import numpy as np
import pytest

from dataprep.corpus.row_index import RowIndex
from dataprep.corpus.snapshot import Snapshot
from dataprep.corpus_tools.info import open_snapshot
from dataprep.errors import DataError
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_pictures


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder = tmp_path_factory.mktemp("index")
    write_pictures(folder / "source", 14)
    write_pictures(folder / "source", 10, first=14, height=80, width=48)
    run_build([str(folder / "source")], str(folder / "out"), SMALL, engine=in_process)
    return open_snapshot(str(folder / "out"))


@pytest.mark.parametrize("split", ["train", "validation"])
def test_each_row_of_the_split_is_there_in_order(snapshot: Snapshot, split: str) -> None:
    expected = [row for row in snapshot.table("index").to_pylist() if row["split"] == split]
    index = RowIndex.open(snapshot, split)
    assert len(index) == len(expected) > 2
    found = [(index.id(i), index.shard(i), index.position(i), index.bucket(i)) for i in range(len(index))]
    assert found == [(row["id"], row["shard"], row["position"], row["bucket"]) for row in expected]


def test_the_rows_of_all_buckets_are_all_rows(snapshot: Snapshot) -> None:
    index = RowIndex.open(snapshot, "train")
    assert list(index.buckets) == sorted(index.buckets)
    assert len(index.buckets) == 2
    rows = [index.rows_of_bucket(bucket) for bucket in index.buckets]
    assert sorted(np.concatenate(rows)) == list(range(len(index)))
    for bucket, of_bucket in zip(index.buckets, rows, strict=True):
        assert {index.bucket(i) for i in of_bucket} == {bucket}


def test_a_split_without_rows_is_empty(snapshot: Snapshot) -> None:
    index = RowIndex.open(snapshot, "test")
    assert (len(index), index.buckets, index.shards) == (0, (), ())


def test_a_damaged_index_is_named(snapshot: Snapshot, tmp_path: Path) -> None:
    path = snapshot.document["tables"]["index"]["path"]
    (tmp_path / "snapshots").mkdir()
    (tmp_path / path).write_bytes((Path(snapshot.uri) / path).read_bytes()[:-20])
    with pytest.raises(DataError, match="index"):
        RowIndex.open(Snapshot(str(tmp_path), 1, snapshot.document), "train")
