"""Listing and scan phases on their own: each item once and in order, each record from the latest word on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprep.corpus.column_files import write_table
from dataprep.corpus.schema import LISTING_SCHEMA, SCAN_SCHEMA
from pipelines.common.progress import silent
from pipelines.corpus_build.columns_phase import _spans
from pipelines.corpus_build.job import BuildJob
from pipelines.corpus_build.listing import Listing, list_sources
from pipelines.corpus_build.scan_phase import Known, counted, records_of
from pipelines.execution.task_tables import GROUPS_PER_FILE, read_group, write_groups
from tests.corpus_pictures import SMALL, write_pictures


def keys_of(listing: Listing) -> list[str]:
    return [key for batch in listing.batches() for key in batch["key"].to_pylist()]


def test_an_item_that_two_sources_hold_is_listed_once_where_it_came_first(tmp_path: Path) -> None:
    source = str(write_pictures(tmp_path / "source", 5))
    other = str(write_pictures(tmp_path / "other", 2, first=50))
    with list_sources([source, other, source], SMALL, None, silent) as twice:
        listed = keys_of(twice)
        assert listed == twice.keys.to_pylist()
    with list_sources([source, other], SMALL, None, silent) as once:
        assert keys_of(once) == listed
    assert len(set(listed)) == len(listed) == 7


@pytest.mark.parametrize("limit", [1, 5, 6, 7, 100])
def test_a_limit_takes_the_first_items_over_all_sources(tmp_path: Path, limit: int) -> None:
    sources = [str(write_pictures(tmp_path / f"s{n}", 5, first=10 * n)) for n in range(2)]
    with list_sources(sources, SMALL, None, silent) as every, list_sources(sources, SMALL, limit, silent) as first:
        assert keys_of(first) == keys_of(every)[:limit]


def listing(tmp_path: Path, keys: list[str]) -> Listing:
    path = str(tmp_path / "items.arrow")
    rows = [{"key": key, "uri": f"/p/{key}", "tags": [], "kind": "file", "detail": ""} for key in keys]
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, LISTING_SCHEMA) as stream:
        for start in range(0, len(rows), 3):
            stream.write_table(pa.Table.from_pylist(rows[start : start + 3], LISTING_SCHEMA))
    return Listing(path, pa.chunked_array([keys], pa.string()), {})


def write_part(folder: Path, name: str, reasons: dict[str, str | None], side: int = 100) -> None:
    """A scan part of items with these reasons; `side` tells the parts apart."""
    seen: dict[str, Any] = {
        "uri": "/old",
        "tags": [],
        "kind": "file",
        "detail": "",
        "id": "ab" * 32,
        "pixel_hash": "cd" * 32,
    }
    seen |= {"width": side, "height": side, "contrast": 200, "chroma": 200, "phash": 1}
    rows = [{"item": item, "reason": reason, **seen} for item, reason in reasons.items()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.parquet").write_bytes(write_table(pa.Table.from_pylist(rows, SCAN_SCHEMA)))


def known(tmp_path: Path) -> Known:
    return Known.at(str(tmp_path), SMALL)


def test_of_two_records_of_an_item_the_later_round_counts(tmp_path: Path) -> None:
    folder = Path(known(tmp_path).folder)
    write_part(folder, "zzz", {"a": "unreadable", "b": None}, side=100)
    write_part(folder, "aaa-r1", {"a": "timeout"}, side=200)
    write_part(folder, "bbb-r10", {"a": None}, side=300)
    found = records_of(listing(tmp_path, ["a", "b"]), (), known(tmp_path), SMALL.filters)
    assert found["width"].to_pylist() == [300, 100]
    assert found["uri"].to_pylist() == ["/p/a", "/p/b"]  # the listing says where it is now
    assert known(tmp_path).next_suffix() == "-r11"


def test_that_no_bytes_came_counts_less_than_any_other_record(tmp_path: Path) -> None:
    folder = Path(known(tmp_path).folder)
    write_part(folder, "first", {"a": None, "b": "not-read"}, side=100)
    write_part(folder, "second-r1", {"a": "not-read"}, side=200)
    seen = known(tmp_path)
    assert records_of(listing(tmp_path, ["a"]), (), seen, SMALL.filters)["width"].to_pylist() == [100]
    why = seen.why_read(pa.chunked_array([["a", "b", "c"]]), ())
    assert why.to_pylist() == [None, "not-read", "new"]


def test_only_items_that_failed_for_a_given_reason_are_read_again(tmp_path: Path) -> None:
    write_part(Path(known(tmp_path).folder), "part", {"a": "unreadable", "b": "timeout", "c": None})
    keys = pa.chunked_array([["a", "b"], ["c", "d"]])
    assert known(tmp_path).why_read(keys, ()).to_pylist() == [None, None, None, "new"]
    assert known(tmp_path).why_read(keys, ("timeout",)).to_pylist() == [None, "timeout", None, "new"]
    every = known(tmp_path).why_read(keys, ("all",))
    assert every.to_pylist() == ["unreadable", "timeout", None, "new"]
    assert counted(every) == {"new": 1, "timeout": 1, "unreadable": 1}


def test_a_fresh_part_counts_before_what_was_known(tmp_path: Path) -> None:
    folder = Path(known(tmp_path).folder)
    write_part(folder, "old-r7", {"a": "unreadable"}, side=100)
    seen = known(tmp_path)
    write_part(folder, "new", {"a": None}, side=200)
    fresh = str(folder / "new.parquet")
    assert records_of(listing(tmp_path, ["a"]), (fresh,), seen, SMALL.filters)["width"].to_pylist() == [200]


def test_items_without_a_record_are_left_out_and_the_others_keep_their_place(tmp_path: Path) -> None:
    write_part(Path(known(tmp_path).folder), "part", dict.fromkeys("bdg"))
    found = records_of(listing(tmp_path, list("abcdefgh")), (), known(tmp_path), SMALL.filters)
    assert found["uri"].to_pylist() == ["/p/b", "/p/d", "/p/g"]
    assert found["place"].to_pylist() == [1, 3, 6]


def test_row_groups_are_spread_over_files_and_read_one_by_one(tmp_path: Path) -> None:
    count = 2 * GROUPS_PER_FILE + 3
    tables = [pa.table({"n": np.full(n % 5 + 1, n)}) for n in range(count)]
    groups = list(write_groups(str(tmp_path), iter(tables)))
    assert len(groups) == count
    assert [read_group(*group) for group in groups] == tables
    footers = [pq.ParquetFile(path).num_row_groups for path in sorted(tmp_path.glob("*.parquet"))]
    assert sorted(footers) == [3, GROUPS_PER_FILE, GROUPS_PER_FILE]


@pytest.mark.parametrize("sizes", [[], [5], [1, 1, 1], [3, 3, 3, 3], [9, 1, 9], [2, 2, 3, 1, 1, 4]])
def test_spans_hold_every_shard_once_and_not_too_many_rows(sizes: list[int]) -> None:
    spans = [sizes[span] for span in _spans(sizes, 4)]
    assert [size for span in spans for size in span] == sizes
    assert all(sum(span) <= 4 or len(span) == 1 for span in spans)


def test_builds_of_one_corpus_have_folders_of_their_own() -> None:
    first, second = (BuildJob(out="/c", recipe=SMALL, columns=()) for _ in range(2))
    assert first.folder.startswith("/c/plan/")
    assert first.folder != second.folder
