"""The reader gives every row once, whole, from any thread and any process."""

import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprep.corpus.cell_reader import CellReader, _Recent
from dataprep.corpus.reader import CorpusReader
from dataprep.corpus_tools.info import info
from dataprep.errors import DataError
from dataprep.pictures.assembled import shipped_templates
from dataprep.pictures.decode import decode
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
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


def test_rows_can_be_read_without_their_facts_and_elsewhere_by_their_place(corpus: str) -> None:
    reader, plain = CorpusReader(corpus, "train", COLUMNS), CorpusReader(corpus, "train", COLUMNS, facts=False)
    elsewhere = CellReader()
    for number in range(len(reader)):
        row = reader.row(number)
        assert plain.row(number) == {name: row[name] for name in ("id", *COLUMNS)}
        place = pickle.loads(pickle.dumps(plain.place(number)))
        assert elsewhere.read(place) == plain.row(number)


def test_a_row_that_is_not_where_the_index_says_is_told(corpus: str) -> None:
    place = CorpusReader(corpus, "train", ["color"]).place(0)
    with pytest.raises(DataError, match=rf"row {place.id} is not where the index says"):
        CellReader().read(replace(place, position=place.position ^ 1))
    with pytest.raises(DataError, match="there is no row at 15"):
        CellReader().read(replace(place, position=15))


def test_row_groups_that_are_read_again_are_kept_and_the_oldest_go_first() -> None:
    recent: _Recent[str] = _Recent(most=10)
    for name, size in (("a", 4), ("b", 4)):
        recent.put(name, name, size)
    assert recent.get("a") == "a"
    recent.put("c", "c", 4)
    assert [recent.get(name) for name in "abc"] == ["a", None, "c"]
    recent.put("d", "d", 50)  # larger than all: held until the next one comes
    assert [recent.get(name) for name in "acd"] == [None, None, "d"]


@pytest.mark.s3
def test_a_corpus_on_s3_reads_the_same(corpus: str, s3_prefix: str) -> None:
    from dataprep.storage.store import upload_directory

    upload_directory(Path(corpus), s3_prefix)
    here, there = (CorpusReader(uri, "validation", COLUMNS) for uri in (corpus, s3_prefix))
    assert [there.row(i) for i in range(len(there))] == [here.row(i) for i in range(len(here))]


def test_rows_of_a_group_share_a_number_and_rows_without_one_stand_alone(tmp_path: Path) -> None:
    paths = [str(path) for path in sorted(write_pictures(tmp_path / "source", 16).iterdir())]
    named = [None if number < 4 else f"g{number % 3}" for number in range(16)]
    pq.write_table(pa.table({"path": paths, "group": pa.array(named, pa.string())}), tmp_path / "index.parquet")
    run_build([str(tmp_path / "index.parquet")], str(tmp_path / "out"), SMALL, engine=in_process)
    found = []
    for split in ("train", "validation"):
        reader = CorpusReader(str(tmp_path / "out"), split, [])
        groups = [reader.row(number)["group"] for number in range(len(reader))]
        found += groups
        codes = reader.group_codes()
        for left in range(len(reader)):
            for right in range(left):
                same = groups[left] is not None and groups[left] == groups[right]
                assert (codes[left] == codes[right]) == same
    assert sorted(found, key=str) == sorted(named, key=str)


def test_assembled_rows_have_one_code_and_every_other_row_its_own(tmp_path: Path) -> None:
    pictures, source = write_pictures(tmp_path / "pictures", 10), tmp_path / "drawings"
    source.mkdir()
    drawings = list(shipped_templates().values())[:6]
    (source / "some.jsonl").write_text("\n".join(json.dumps(asdict(template)) for template in drawings))
    (source / "assembled.json").write_text(json.dumps({"templates": ["some.jsonl"], "colorings": 1, "size": 96}))
    run_build([str(pictures), str(source)], str(tmp_path / "out"), SMALL, engine=in_process)
    reader = CorpusReader(str(tmp_path / "out"), "train", [])
    codes = reader.assembled_codes()
    drawn = [bool(reader.row(number)["assembly"]) for number in range(len(reader))]
    assert 1 < sum(drawn) < len(drawn)
    assert {codes[number] for number, is_drawn in enumerate(drawn) if is_drawn} == {0}
    others = [codes[number] for number, is_drawn in enumerate(drawn) if not is_drawn]
    assert len(set(others)) == len(others)
    assert 0 not in others
