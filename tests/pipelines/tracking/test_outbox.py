"""Outboxes: only appended to, readable after a crash in the middle of a line, held by one process at a time."""

import math
import resource
from pathlib import Path

import pytest

from pipelines.tracking.outbox import Contents, Outbox, held, new_outbox, outbox_folder, outboxes


def test_an_outbox_is_lines_and_goes_when_everything_is_sent(tmp_path: Path) -> None:
    box = new_outbox(str(tmp_path))
    for step in range(3):
        box.record({"metrics": {"loss": 0.5}, "step": step, "at_ms": 0})
    box.belongs_to("a" * 32)
    box.is_sent(1)
    contents = Contents.of(box.path.read_bytes())
    assert [record["n"] for record in contents.unsent()] == [2]
    assert contents.run_id == "a" * 32
    box.is_sent(2)
    box.close()
    assert not (tmp_path / "tracking").exists()


def test_what_is_not_sent_stays_and_is_found_again(tmp_path: Path) -> None:
    box = new_outbox(str(tmp_path))
    opening = {"store": "s", "out": "\udcff", "name": "n", "params": {}, "tags": {}, "started_ms": 0}
    box.record({"open": opening})
    assert (outboxes(str(tmp_path))[0], len(held(str(tmp_path)))) == ([], 1)
    box.close()
    (found,), taken = outboxes(str(tmp_path))
    assert found.contents.opening is not None
    assert (dict(found.contents.opening), taken) == (opening, [])
    found.close()


@pytest.mark.parametrize("cut", range(1, 30, 7))
def test_a_line_that_was_torn_costs_itself(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "box.jsonl"
    box = Outbox(path, str(tmp_path))
    for step in range(2):
        box.record({"metrics": {"loss": 0.5}, "step": step, "at_ms": 0})
    box.close()
    path.write_bytes(path.read_bytes()[:-cut])
    again = Outbox(path, str(tmp_path))
    again.record({"end": "FINISHED", "at_ms": 1})
    contents = Contents.of(path.read_bytes())
    assert [record["n"] for record in contents.records] == ([0, 1, 2] if cut == 1 else [0, 1])
    assert contents.damaged == (0 if cut == 1 else 1)
    assert contents.is_ended
    again.close()


def test_a_file_of_another_kind_is_no_record(tmp_path: Path) -> None:
    contents = Contents.of(b'[1]\n"x"\nnull\n\xff\xfe\n\n{"sent": 4}\n')
    assert (contents.records, contents.damaged, contents.sent) == ([], 4, 4)
    assert contents.opening is None


@pytest.mark.parametrize(
    "line",
    [
        '{"n": "x"}',
        '{"n": 1}',
        '{"sent": "x"}',
        '{"run_id": 5}',
        '{"n": 0, "open": {}}',
        '{"n": 0, "end": "DELETED"}',
        '{"n": 0, "metrics": {"loss": "x"}, "step": 0, "at_ms": 0}',
        '{"n": 0, "metrics": {"loss": 1e999, "psnr": [1]}, "step": 0, "at_ms": 0}',
        '{"n": 0, "artifact": {"name": "../../x", "document": {}}}',
        '{"n": 0, "n": 1, "end": "KILLED"}',
        pytest.param('{"a":' * 100_000, id="nested deep"),
        pytest.param('{"n": 0, "metrics": {"loss": 1' + "0" * 400 + '}, "step": 0, "at_ms": 0}', id="a huge number"),
    ],
)
def test_a_line_that_says_something_else_is_damaged(line: str) -> None:
    contents = Contents.of(f'{line}\n{{"n": 7, "end": "KILLED"}}\n'.encode())
    assert (contents.damaged, contents.unsent()) == (1, [{"n": 7, "end": "KILLED"}])


def test_numbers_that_are_none_of_jsons_are_read_back(tmp_path: Path) -> None:
    box = new_outbox(str(tmp_path))
    box.record({"metrics": {"loss": math.nan, "psnr": math.inf, "rows": 3}, "step": 0, "at_ms": 0})
    contents = Contents.of(box.path.read_bytes())
    assert contents.damaged == 0
    assert str(contents.records) == str(box.unsent())
    box.is_sent(0)
    box.close()


def test_a_full_disk_costs_lines_and_not_the_work(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box.jsonl", str(tmp_path))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, unlimited[1]))  # as a disk that is full: every write is refused
    try:
        box.record({"metrics": {"loss": 0.5}, "step": 0, "at_ms": 0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert box.trouble is not None
    assert "box.jsonl: " in box.trouble
    assert len(box.unsent()) == 1
    box.close()


def test_records_of_an_output_on_s3_wait_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here, there = outbox_folder("s3://bucket/a"), outbox_folder("s3://bucket/b")
    assert here.parent == Path("irodori-logs/tracking")
    assert here != there
