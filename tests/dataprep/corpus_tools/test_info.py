"""A snapshot is whole or absent, its digest tells contents and nothing else, and verify finds every damage."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataprep.corpus import digest
from dataprep.corpus.column_files import ROW_GROUP_ROWS, ColumnWriter, describe, read_rows
from dataprep.corpus.schema import column_schema
from dataprep.corpus.snapshot import Contents, commit
from dataprep.corpus_tools.info import info, open_snapshot, verify
from dataprep.errors import DataError
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_broken, write_pictures


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    source = write_pictures(folder / "source", 18)
    write_broken(source)
    run_build([str(source)], str(folder / "out"), SMALL, engine=in_process)
    return folder / "out"


@pytest.fixture
def corpus(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


def column_file(rows: int = 40) -> bytes:
    writer = ColumnWriter("mask")
    for number in range(rows):
        value = None if number % 3 == 0 else bytes([number]) * number
        writer.add(f"{number:064x}", value, "no luck" if number == 6 else None)
    return writer.finish()


# ---- column files -------------------------------------------------------------------------------------------------


def test_a_column_file_gives_back_its_cells_in_order() -> None:
    rows = list(read_rows(column_file(), "mask", "m"))
    assert [row["id"] for row in rows] == [f"{number:064x}" for number in range(40)]
    assert rows[5]["mask"] == b"\x05" * 5
    assert rows[6] == {"id": f"{6:064x}", "mask": None, "error": "no luck"}


def test_any_parquet_tool_reads_it_in_small_groups_with_a_page_index(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(column_file())
    meta = pq.ParquetFile(tmp_path / "f").metadata
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 8]
    assert meta.row_group(0).column(0).has_offset_index
    assert meta.row_group(0).column(1).compression == "UNCOMPRESSED"
    assert pq.read_schema(tmp_path / "f").names == column_schema("mask").names


def test_a_file_of_another_column_is_refused() -> None:
    with pytest.raises(DataError, match="not that of column color"):
        list(read_rows(column_file(), "color", "c"))


def test_a_description_counts_rows_and_failures() -> None:
    file = describe("p", "train", "s", "mask", "f", column_file())
    assert (file.rows, file.failed, file.bytes) == (40, 1, len(column_file()))


# ---- digest -------------------------------------------------------------------------------------------------------

CELLS = [(f"{number:064x}", digest.value_hash(bytes([number]))) for number in range(10)]


def total(*files: list[tuple[str, bytes]], column: str = "color", mark: str = "f") -> str:
    return digest.corpus_digest([digest.cells_digest(column, mark, file) for file in files], "0", {})


def test_the_digest_does_not_see_order_or_shards() -> None:
    whole = total(CELLS)
    assert total(CELLS[::-1]) == whole
    assert total(CELLS[3:], CELLS[:3]) == whole


def test_the_digest_sees_every_cell_column_and_fingerprint() -> None:
    swapped = [(CELLS[0][0], CELLS[1][1]), (CELLS[1][0], CELLS[0][1]), *CELLS[2:]]
    others = [total(CELLS[1:]), total([*CELLS, CELLS[0]]), total(swapped), total(CELLS, column="mask")]
    others.append(total(CELLS, mark="g"))
    assert len({total(CELLS), *others}) == 6


def test_a_missing_value_a_failure_and_an_empty_value_are_three_things() -> None:
    assert len({digest.value_hash(None), digest.value_hash(None, failed=True), digest.value_hash(b"")}) == 3


def test_a_rows_address_is_no_content_but_its_group_is() -> None:
    row = {"id": "a", "source": "here", "group": "g", "tags": ["t"]}
    assert digest.row_hash(row | {"source": "there"}) == digest.row_hash(row)
    assert digest.row_hash(row | {"group": "h"}) != digest.row_hash(row)


def test_rejects_are_counted_by_content_and_reason() -> None:
    assert digest.rejects_digest([("a", "x"), ("b", "y")]) == digest.rejects_digest([("b", "y"), ("a", "x")])
    assert digest.rejects_digest([("a", "x")]) != digest.rejects_digest([("a", "y")])
    assert digest.rejects_digest([("a", "x")] * 2) != digest.rejects_digest([("a", "x")])


# ---- snapshots ----------------------------------------------------------------------------------------------------


def contents_of(corpus: Path) -> Contents:
    """What the builder of snapshot 1 committed."""
    from dataprep.corpus.column_files import ColumnFile

    snapshot = open_snapshot(str(corpus))
    files = [ColumnFile(**fields) for fields in snapshot.table("files").to_pylist()]
    facts = snapshot.document
    return Contents(
        files, snapshot.table("index"), snapshot.table("rejects"), facts["operators"], facts["sources"], facts["recipe"]
    )


def test_info_tells_what_is_there(corpus: Path) -> None:
    facts = info(str(corpus))
    assert facts["snapshot"] == 1
    assert sum(facts["rows"].values()) == 18
    assert facts["rejects"] == {"unreadable": 1}
    assert set(facts["operators"]) == {"row", "color", "sketch_xdog", "sketch_drawn", "mask", "region_map"}
    assert facts["bytes"] == sum(path.stat().st_size for path in (corpus / "data").rglob("*.parquet"))
    assert json.loads(json.dumps(facts)) == facts


def test_a_folder_without_snapshot_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no corpus here"):
        info(str(tmp_path))


def test_a_snapshot_that_does_not_exist_is_named(corpus: Path) -> None:
    with pytest.raises(DataError, match="no snapshot 7; there are only 1"):
        open_snapshot(str(corpus), 7)


def test_unchanged_contents_make_no_snapshot(corpus: Path) -> None:
    before = open_snapshot(str(corpus))
    assert commit(str(corpus), contents_of(corpus), before) == (before, False)


def test_of_two_builds_with_different_contents_one_wins_and_the_other_says_so(corpus: Path) -> None:
    before, mine = open_snapshot(str(corpus)), contents_of(corpus)
    other = replace(mine, files=[file for file in mine.files if file.column != "mask"])
    third = replace(mine, files=[file for file in mine.files if file.column != "color"])
    winner, is_new = commit(str(corpus), other, before)
    assert (winner.number, is_new) == (2, True)
    with pytest.raises(DataError, match="another build committed snapshot 2"):
        commit(str(corpus), third, before)
    assert open_snapshot(str(corpus)).digest == winner.digest
    assert len(open_snapshot(str(corpus)).table("files")) == len(other.files)


def test_two_builds_with_the_same_contents_agree(corpus: Path) -> None:
    before, mine = open_snapshot(str(corpus)), contents_of(corpus)
    other = replace(mine, files=mine.files[1:])
    first, _ = commit(str(corpus), other, before)
    again, is_new = commit(str(corpus), other, before)
    assert (again.number, again.digest, is_new) == (first.number, first.digest, False)


# ---- verify -------------------------------------------------------------------------------------------------------


def test_a_sound_corpus_has_no_damage(corpus: Path) -> None:
    assert verify(str(corpus)) == []


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, flip_a_byte, remove])
@pytest.mark.parametrize("pattern", [*(f"data/*/*/{c}-*" for c in ("row", "color")), "rejects/*", "snapshots/*files*"])
def test_every_damaged_file_is_named(corpus: Path, pattern: str, damage: Callable[[Path], None]) -> None:
    victim = sorted(corpus.glob(pattern))[0]
    damage(victim)
    found = verify(str(corpus))
    assert [line.partition(":")[0] for line in found] == [victim.relative_to(corpus).as_posix()]


def test_a_file_swapped_for_another_of_the_same_size_is_named(corpus: Path) -> None:
    """A sound file of the same rows with other pictures: nothing but its hash is wrong."""
    victim = sorted(corpus.glob("data/*/*/color-*"))[0]
    writer = ColumnWriter("color")
    for row in read_rows(victim.read_bytes(), "color", "c"):
        writer.add(row["id"], row["color"][::-1])
    swapped = writer.finish()
    assert len(swapped) == victim.stat().st_size
    victim.write_bytes(swapped)
    (found,) = verify(str(corpus))
    assert (
        found == f"{victim.relative_to(corpus).as_posix()}: the content has changed (another sha256 at the same size)"
    )


def test_two_damages_are_two_lines(corpus: Path) -> None:
    for path in sorted(corpus.glob("data/*/*/color-*"))[:2]:
        truncate(path)
    assert len(verify(str(corpus))) == 2


def test_a_snapshot_cut_short_is_said(corpus: Path) -> None:
    truncate(corpus / "snapshots" / "1.json")
    with pytest.raises(DataError, match=r"1\.json: damaged"):
        verify(str(corpus))


def test_a_snapshot_whose_counts_were_edited_is_found_by_its_digest(corpus: Path) -> None:
    path = corpus / "snapshots" / "1.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"digest": "00" * 32}))
    assert verify(str(corpus)) == ["snapshots/1.json: its digest is not that of its files"]


def test_bytes_that_were_wrong_when_they_were_written_are_found(corpus: Path) -> None:
    """A file whose hash agrees, but whose pictures do not decode or have another size than their rows."""
    victim = sorted(corpus.glob("data/*/*/sketch_xdog-*"))[0]
    rows = list(read_rows(victim.read_bytes(), "sketch_xdog", "s"))
    writer = ColumnWriter("sketch_xdog")
    for row in rows:
        writer.add(row["id"], b"no picture")
    _replace_vouched(corpus, victim, writer.finish())
    found = verify(str(corpus))
    assert len(found) == len(rows)
    assert all("cannot be decoded" in line and victim.name in line for line in found)


def _replace_vouched(corpus: Path, victim: Path, data: bytes) -> None:
    """Write `data` in place of the file and make the next snapshot vouch for it."""
    before, mine = open_snapshot(str(corpus)), contents_of(corpus)
    path = victim.relative_to(corpus).as_posix()
    victim.write_bytes(data)
    files = [
        describe(path, file.split, file.shard, file.column, file.fingerprint, data) if file.path == path else file
        for file in mine.files
    ]
    commit(str(corpus), replace(mine, files=files), before)
