"""Tables as tools write them, row by row; and tables that mean harm, in bounded memory and time."""

import gzip
import json
import random
import time
import tracemalloc
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprep.errors import DataError
from dataprep.sources import list_batches
from dataprep.sources.tables import lines, parquet_pages, parquet_rows
from dataprep.sources.tables.row import BadRow
from dataprep.sources.tables.rows import table_columns, table_rows
from tests.dataprep.sources.source_helpers import items, notes, png, short, write

GOOD = {"path": "a.png", "caption": "one"}


def rows_of(path: Path) -> list[tuple[str, Any]]:
    return list(table_rows(str(path)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("i.jsonl", '\ufeff{"path": "a.png"}\r\n\r\n{"path": "b.png"}\r\n'),
        ("i.jsonl", '[{"path": "a.png"},\n {"path": "b.png"}]\n'),
        ("i.json", '\ufeff  [\n  {\n    "path": "a.png"\n  },\n  {"path": "b.png"}\n]'),
        ("i.json", '{"path": "a.png"}\n{"path": "b.png"}'),
        ("i.csv", '\ufeffpath,caption\r\n"a.png",\r\nb.png,"x, ""y""\nz"\r\n'),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_json_lines_an_array_and_csv_are_read_with_and_without_a_mark(
    tmp_path: Path, name: str, text: str, packed: bool
) -> None:
    data = gzip.compress(text.encode()) if packed else text.encode()
    index = write(tmp_path / (f"{name}.gz" if packed else name), data)
    write(tmp_path / "a.png", png(1))
    assert short(items(index)) == ["a.png", "b.png"]
    assert [item.caption for item in items(index)][1:] == (['x, "y"\nz'] if "csv" in name else [None])


def test_utf_16_is_named(tmp_path: Path) -> None:
    index = write(tmp_path / "i.jsonl", '{"path": "a.png"}\n'.encode("utf-16"))
    with pytest.raises(DataError, match=r"UTF-16\. Save it as UTF-8"):
        items(index)


@pytest.mark.parametrize(
    ("name", "text", "bad"),
    [
        ("i.jsonl", '{"path": "a.png"}\nnope\n[1]\n{"path": "b.png"}\n', ["line 2", "line 3"]),
        ("i.json", '[{"path": "a.png"}, 3, {"path": "b.png"}]', ["entry 2"]),
        ("i.json", '[{"path": "a.png"}, {"path": "b.png"}, {"pa', ["entry 3"]),
        ("i.csv", "path,caption\na.png,x,y\na.png,x\nb.png\n", ["row 1"]),
        ("i.csv", f'path,caption\na.png,x\nc.png,"{"x" * 200_000}"\nb.png\n', ["row 2"]),
    ],
)
def test_a_bad_row_is_named_by_its_place_and_the_others_are_read(
    tmp_path: Path, name: str, text: str, bad: list[str]
) -> None:
    found = rows_of(write(tmp_path / name, text))
    assert [place for place, row in found if isinstance(row, BadRow)] == bad
    assert [row["path"] for _, row in found if not isinstance(row, BadRow)] == ["a.png", "b.png"]


def test_a_line_that_is_too_long_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MOST_LINE_BYTES", 3 << 20)
    long = '{"path": "' + "x" * (9 << 20) + '"}'
    found = rows_of(write(tmp_path / "i.jsonl", f'{{"path": "a.png"}}\n{long}\n{{"path": "b.png"}}\n{long}'))
    assert [place for place, row in found if isinstance(row, BadRow)] == ["line 2", "line 4"]
    assert [row["path"] for _, row in found if not isinstance(row, BadRow)] == ["a.png", "b.png"]


def peak(work: Callable[[], object]) -> tuple[int, float]:
    """Bytes that Python and Arrow held at most, and seconds."""
    pool = pa.default_memory_pool()
    start, before = time.monotonic(), pool.bytes_allocated()
    tracemalloc.start()
    try:
        work()
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most + pool.bytes_allocated() - before, time.monotonic() - start


@pytest.mark.seconds
def test_a_packed_table_that_is_a_bomb_is_refused_with_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LEAST_LIMIT", 2 << 20)
    equal_rows = b"".join(b'{"a": "%s"}\n' % (b"x" * 1000) for _ in range(16 << 10))
    bombs = {"empty lines": b"\n" * (16 << 20), "one line": b" " * (16 << 20), "equal rows": equal_rows}
    for name, data in bombs.items():
        path = write(tmp_path / f"{name}.jsonl.gz", gzip.compress(data))
        assert path.stat().st_size < 80_000

        def read(path: Path = path) -> None:
            with pytest.raises(
                DataError, match=rf"{path.name}: it unpacks to more than [\d,]+ bytes, 200 times its size"
            ):
                deque(table_rows(str(path)), maxlen=0)

        most, seconds = peak(read)
        assert most < 32 << 20
        assert seconds < 20


def parquet(path: Path, columns: dict[str, Any], **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **settings)
    return path


@pytest.mark.parametrize(
    "settings", [{"use_dictionary": True}, {"use_dictionary": False}, {"data_page_version": "2.0"}]
)
@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip"])
@pytest.mark.seconds
def test_a_cell_of_many_megabytes_in_a_small_parquet_file_is_refused_before_it_is_unpacked(
    tmp_path: Path, settings: dict[str, Any], compression: str
) -> None:
    columns = {"path": ["a.png", "b.png"], "caption": ["x" * (80 << 20), "c"]}
    path = parquet(tmp_path / "i.parquet", columns, compression=compression, **settings)
    del columns

    def read() -> None:
        with pytest.raises(DataError, match=r"i.parquet: column caption has a page of 83,886,\d+ bytes .* 67,108,864"):
            rows_of(path)

    most, seconds = peak(read)
    assert most < 4 << 20
    assert seconds < 5


def test_a_footer_that_lies_about_sizes_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the headers of the pages are believed: they are what Arrow goes by."""
    monkeypatch.setattr(parquet_rows, "MOST_PAGE_BYTES", 1000)
    path = parquet(tmp_path / "i.parquet", {"path": ["a" * 2000]}, compression="zstd")
    data = path.read_bytes()
    stated = pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size
    footer = data.rindex(_zigzag(stated))
    path.write_bytes(data[:footer] + _zigzag(stated - 64) + data[footer + 2 :])
    with pytest.raises(DataError, match="column path has a page of 2,0"):
        rows_of(path)


def _zigzag(number: int) -> bytes:
    return bytes([(2 * number) & 0x7F | 0x80, (2 * number) >> 7])


def test_a_long_cell_is_a_fact_that_cannot_be_read_and_a_long_path_costs_its_row(tmp_path: Path) -> None:
    long = "x" * (100 << 10)
    columns = {
        "path": ["a.png", long, "c.png"],
        "caption": [long, "b", "c"],
        "tags": [["t"], ["t"], [long, "t"]],
    }
    index = parquet(tmp_path / "i.parquet", columns)
    first, bad, third = items(index)
    assert (first.tags, first.caption, third.tags, third.caption) == (("t",), None, (), "c")
    assert "path must be a word, not 'a value of 102,400 bytes'" in json.loads(bad.detail)["refused"]
    assert notes(index).unread_facts == {"caption": 1, "tags": 1}


def test_one_long_value_for_all_rows_is_not_multiplied(tmp_path: Path) -> None:
    rows = 2000
    columns = {
        "path": [f"{number}.png" for number in range(rows)],
        "caption": pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * (1 << 20)])),
    }
    path = parquet(tmp_path / "i.parquet", columns, compression="zstd")
    most, _ = peak(lambda: rows_of(path))
    assert most < 32 << 20
    assert notes(path).unread_facts == {"caption": rows}


@pytest.mark.parametrize(
    ("limit", "value", "says"),
    [
        ("MOST_COLUMNS", 2, "it has 3 columns, more than the 2 that are read"),
        ("MOST_FOOTER_BYTES", 100, r"its footer has [\d,]+ bytes, more than the 100 that are read"),
        ("MOST_PAGE_VALUES", 3, "has a page of .* and 4 values"),
    ],
)
def test_other_limits_of_a_parquet_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, says: str
) -> None:
    monkeypatch.setattr(parquet_rows, limit, value)
    path = parquet(tmp_path / "i.parquet", {name: ["a", "b", "c", "d"] for name in ("path", "caption", "x")})
    with pytest.raises(DataError, match=f"i.parquet.*{says}"):
        rows_of(path)


def test_a_file_that_states_more_rows_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    rows = 3_000_000
    path = parquet(tmp_path / "i.parquet", {"path": pa.nulls(rows, pa.string())}, compression="zstd")
    with pytest.raises(DataError, match="it states 3,000,000 rows in"):
        rows_of(path)


@pytest.mark.parametrize("groups", [1, 3])
def test_pages_are_measured_as_they_are(tmp_path: Path, groups: int) -> None:
    count = 30_000
    names = [f"{number:06d}.png" for number in range(count)]
    tags = [[f"t{number % 7}", "x"] for number in range(count)]
    path = parquet(
        tmp_path / "i.parquet",
        {"path": names, "tags": tags, "n": list(range(count))},
        row_group_size=count // groups,
        data_page_size=4096,
        write_statistics=True,
    )
    metadata = pq.ParquetFile(path).metadata
    data = path.read_bytes()
    placed = parquet_pages.chunks(data[-8 - int.from_bytes(data[-8:-4], "little") : -8])
    with pa.OSFile(str(path)) as file:
        for group in range(groups):
            for position in range(3):
                chunk = metadata.row_group(group).column(position)
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                mine = placed[group][position]
                assert mine == parquet_pages.Chunk(chunk.path_in_schema, start, chunk.total_compressed_size)
                found = list(parquet_pages.pages(file, start, start + chunk.total_compressed_size))
                assert len(found) > 1
                assert sum(page.unpacked for page in found) <= chunk.total_uncompressed_size
                values = sum(page.values for page in found[1:] if chunk.dictionary_page_offset) or count // groups
                assert values == chunk.num_values
    read = [row for _, row in rows_of(path)]
    assert read == [{"path": name, "tags": tag, "n": n} for n, (name, tag) in enumerate(zip(names, tags, strict=True))]


def test_a_damaged_page_header_is_named(tmp_path: Path) -> None:
    path = parquet(tmp_path / "i.parquet", {"path": ["a", "b"]})
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"i\.parquet: column path is damaged"):
        rows_of(path)


@pytest.mark.parametrize("seed", range(5))
def test_damage_anywhere_in_a_parquet_file_leaves_rows_or_one_error_that_names_it(tmp_path: Path, seed: int) -> None:
    """Among it footers at which pyarrow's view of a column chunk would end the process."""
    columns = {"path": [f"p{n}.png" for n in range(60)], "tags": [["a", "b"]] * 60, "s": [{"x": 1, "y": ["q"]}] * 60}
    whole = parquet(tmp_path / "i.parquet", columns, row_group_size=20).read_bytes()
    draw = random.Random(seed)
    said = []
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(draw.choice([1, 2, 8])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path = write(tmp_path / "i.parquet", bytes(data))
        try:
            rows_of(path)
        except DataError as error:
            said.append(str(error))
    assert len(said) > 5
    assert all(message.startswith(str(tmp_path / "i.parquet")) for message in said)


def test_text_of_parquet_that_is_not_utf_8_costs_no_row(tmp_path: Path) -> None:
    names = pa.array([b"b\xe9.png", b"b.png"]).view(pa.binary()).cast(pa.string(), safe=False)
    tags = pa.ListArray.from_arrays([0, 1, 2], pa.array([b"\xff", b"t"]).cast(pa.string(), safe=False))
    path = parquet(tmp_path / "i.parquet", {"path": names, "tags": tags})
    assert [row for _, row in rows_of(path)] == [
        {"path": "b\ufffd.png", "tags": ["\ufffd"]},
        {"path": "b.png", "tags": ["t"]},
    ]


def test_only_wanted_columns_of_parquet_are_read_and_others_cost_nothing(tmp_path: Path) -> None:
    path = parquet(tmp_path / "i.parquet", {"path": ["a.png"], "image": [b"x" * (80 << 20)]}, compression="zstd")
    assert short(items(path)) == ["a.png"]
    assert table_columns(str(path)) == ["path", "image"]


def test_what_cannot_be_opened_has_no_columns(tmp_path: Path) -> None:
    for name in ("i.parquet", "i.jsonl.gz", "gone.csv"):
        if not name.startswith("gone"):
            write(tmp_path / name, b"\x1f\x8bnothing of the kind")
        assert table_columns(str(tmp_path / name)) == []


def test_an_index_names_what_it_is_read_as(tmp_path: Path) -> None:
    index = write(tmp_path / "i.jsonl", json.dumps(GOOD) + "\n")
    assert [(one.layout, one.why) for one in notes(index).read_as] == [("an index", "its columns name pictures")]
    assert sum(len(table) for table in list_batches(str(index))) == 1
