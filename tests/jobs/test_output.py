"""What a command prints: documents for scripts and for people, and where logs go."""

import json
import logging
import os
from pathlib import Path

import pytest

from jobs.output import as_lines, engine_console, log_folder, print_json
from pipelines.common.progress import NOTICES


def test_a_document_for_scripts_is_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"rows": 3, "none": None})
    shown = capsys.readouterr()
    assert (json.loads(shown.out), shown.err) == ({"rows": 3, "none": None}, "")


def test_a_document_for_a_person_is_aligned_and_its_parts_are_indented() -> None:
    document = {"rows": 12345, "scores": {"psnr": 20.5, "fid": None}, "ready": True, "empty": {}}
    assert as_lines(document).splitlines() == [
        "rows    12,345",
        "scores",
        "  psnr  20.5",
        "  fid   none",
        "ready   True",
        "empty   {}",
    ]


def test_logs_lie_beside_a_local_output_and_here_for_one_on_s3() -> None:
    assert log_folder("runs/one") == Path("runs/one")
    assert log_folder("s3://bucket/one") == Path("irodori-logs")


def test_work_that_starts_no_engine_has_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with engine_console(None, "export") as (_, log_file):
        assert log_file == Path(os.devnull)
    assert list(tmp_path.iterdir()) == []


def test_what_engines_print_is_in_the_file_of_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with engine_console(tmp_path, "train") as (console, log_file):
        os.write(1, b"an engine speaks")
        console.result("done")
    assert capfd.readouterr().out == "done\n"
    assert (log_file, log_file.read_text()) == (tmp_path / "train.log", "an engine speaks")


@pytest.mark.parametrize("has_engine", [True, False])
def test_what_work_has_to_say_is_one_line_each(
    has_engine: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with engine_console(tmp_path if has_engine else None, "train"):
        NOTICES.warning("v1.noisy: nothing has ended for %d min", 5)
        logging.getLogger("irodori.tracking").warning("the store http://me:marked-secret@host\ntakes no records")
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "irodori: v1.noisy: nothing has ended for 5 min",
        r"irodori: the store http://me:***@host\ntakes no records",
    ]
    assert list(tmp_path.iterdir()) == []
