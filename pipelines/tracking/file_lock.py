"""A lock on a file or folder that ends with its process, so that two pieces of work do not write the same."""

import fcntl
from typing import BinaryIO


def hold(file: BinaryIO | int) -> None:
    """Take the lock without waiting. Raises BlockingIOError where another holds it; a file system without locks goes
    without."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return
