"""Folders of this user in places where everybody writes, as /tmp: nobody else may have put anything there."""

import os
import stat
from pathlib import Path


def is_private(folder: str | Path) -> bool:
    """Whether `folder`, made with mode 700 where it is missing, is this user's own, and nobody else may write there."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    except OSError:
        return False
    found = os.lstat(folder)  # a link may lead anywhere
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
