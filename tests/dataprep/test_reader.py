"""The reader gives every row once, whole, from any thread; the sample plan is a pure function of the ordinal."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dataprep.corpus import info
from dataprep.errors import DataError
from dataprep.pictures import decode
from dataprep.reader import CorpusReader
from dataprep.sample_plan import SamplePlan
from pipelines.build import run_build
from pipelines.build_tasks import in_process
from tests.corpus_pictures import SMALL, write_pictures

COLUMNS = ["color", "sketch_xdog", "sketch_drawn"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("reader")
    source = write_pictures(folder / "source", 40)
    run_build([str(source)], str(folder / "out"), SMALL, engine=in_process)
    write_pictures(source, 3, first=40)
    run_build([str(source)], str(folder / "out"), SMALL, engine=in_process)
    return str(folder / "out")


def test_rows_come_sorted_by_id_each_once_with_their_bytes(corpus: str) -> None:
    readers = [CorpusReader(corpus, split, COLUMNS) for split in ("train", "validation")]
    ids = [row_id for reader in readers for row_id in reader.ids]
    assert len(set(ids)) == len(ids) == 43
    for reader in readers:
        assert reader.ids == sorted(reader.ids)
        for number in range(len(reader)):
            row = reader.row(number)
            assert row["id"] == reader.ids[number]
            assert row["split"] == reader.split
            assert decode(row["color"]).rgb.shape == (row["height"], row["width"], 3)
            assert row["sketch_xdog"].startswith(b"\x89PNG")
            assert row["sketch_drawn"] is None


def test_the_picture_of_a_row_is_the_one_at_its_source(corpus: str) -> None:
    reader = CorpusReader(corpus, "train", ["color"])
    row = reader.row(5)
    assert Path(row["source"]).read_bytes() == row["color"]


def test_a_reader_says_which_snapshot_it_reads_and_can_read_an_earlier_one(corpus: str) -> None:
    newest, first = CorpusReader(corpus, "train", []), CorpusReader(corpus, "train", [], snapshot=1)
    assert (newest.snapshot, newest.digest) == (2, info(corpus)["digest"])
    assert first.snapshot == 1
    assert set(first.ids) <= set(newest.ids)


def test_a_tiny_cache_gives_the_same_rows(corpus: str) -> None:
    roomy, tight = CorpusReader(corpus, "train", COLUMNS), CorpusReader(corpus, "train", COLUMNS, cache_bytes=1)
    assert [tight.row(i) for i in range(len(tight))] == [roomy.row(i) for i in range(len(roomy))]


def test_threads_may_share_a_reader(corpus: str) -> None:
    reader = CorpusReader(corpus, "train", COLUMNS, cache_bytes=20_000)
    wanted = [number % len(reader) for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        assert [row["id"] for row in pool.map(reader.row, wanted)] == [reader.ids[number] for number in wanted]


def test_what_is_not_there_is_named(corpus: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column caption; there are color, mask, "):
        CorpusReader(corpus, "train", ["color", "caption"])
    with pytest.raises(DataError, match="no rows in split 'test'"):
        CorpusReader(corpus, "test", ["color"])
    with pytest.raises(DataError, match="there is no corpus here"):
        CorpusReader(str(tmp_path), "train", ["color"])


def test_a_file_that_went_missing_is_named(corpus: str, tmp_path: Path) -> None:
    copy = shutil.copytree(corpus, tmp_path / "copy")
    for path in Path(copy).glob("data/train/*/color-*"):
        path.unlink()
    with pytest.raises(DataError, match=r"color-\w+\.parquet: there is no such file"):
        CorpusReader(str(copy), "train", ["color"]).row(0)


def test_each_epoch_is_a_permutation_of_its_own() -> None:
    plan = SamplePlan(100, seed=3)
    epochs = [[plan.row_of(epoch * 100 + i) for i in range(100)] for epoch in range(3)]
    assert all(sorted(rows) == list(range(100)) for rows in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != list(range(100))


def test_the_plan_depends_on_seed_and_ordinal_alone() -> None:
    forwards = [SamplePlan(50, 7).row_of(ordinal) for ordinal in range(120)]
    backwards = [SamplePlan(50, 7).row_of(ordinal) for ordinal in reversed(range(120))]
    assert forwards == backwards[::-1]
    assert forwards != [SamplePlan(50, 8).row_of(ordinal) for ordinal in range(120)]


def test_a_plan_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        SamplePlan(0, 0)


@pytest.mark.s3
def test_a_corpus_on_s3_reads_the_same(corpus: str, s3_prefix: str) -> None:
    from dataprep.storage import upload_directory

    upload_directory(Path(corpus), s3_prefix)
    here, there = (CorpusReader(uri, "validation", COLUMNS) for uri in (corpus, s3_prefix))
    assert [there.row(i) for i in range(len(there))] == [here.row(i) for i in range(len(here))]
