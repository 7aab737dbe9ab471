"""Folders in places where everybody writes: used only where nobody else can have put anything there."""

import os
from pathlib import Path

import pytest

from pipelines.common.private_folder import is_private


def test_a_missing_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert is_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert is_private(folder)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_folder_in_which_others_may_write_is_not_private(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    assert not is_private(folder)


def test_a_folder_of_somebody_else_is_not_private(tmp_path: Path) -> None:
    folder = Path("/etc")
    if os.getuid() == 0:
        folder = tmp_path / "theirs"
        folder.mkdir(0o700)
        os.chown(folder, 65534, 65534)
    assert not is_private(folder)


def test_a_link_a_file_and_a_place_that_cannot_be_are_not_private(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    for name in ("link", "file", "file/below", "missing/below"):
        assert not is_private(tmp_path / name)
