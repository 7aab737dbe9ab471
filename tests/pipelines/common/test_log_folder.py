"""Where logs go from a working directory that cannot be written."""

import os
from pathlib import Path

import pytest

from pipelines.common.errors import PipelineError
from pipelines.common.log_folder import log_folder


@pytest.fixture
def unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which this user, root too, may not write; the folder for temporary files beside it."""
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "here").chmod(0o555)
    if os.getuid() == 0:  # to whom nothing is forbidden: a system that is mounted read-only answers so
        allowed = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: path != "." and allowed(path, mode))
    return tmp_path / "temporary"


def test_logs_of_an_output_on_s3_lie_with_the_temporary_files_of_this_user(unwritable: Path) -> None:
    folder = log_folder("s3://bucket/out")
    assert folder == unwritable / f"irodori-logs-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert log_folder("s3://bucket/out") == folder
    assert log_folder("out") == Path("out")


def test_a_folder_that_others_have_prepared_is_refused(unwritable: Path) -> None:
    theirs = unwritable / f"irodori-logs-{os.getuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    with pytest.raises(PipelineError, match=r"not this user's alone: name another place .* by TMPDIR"):
        log_folder("s3://bucket/out")
