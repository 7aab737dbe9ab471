"""The process as commands expect it, whatever it was started in: open descriptors, streams that can show any name, and
no proxy between this machine and itself.
"""

import os
import sys

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def prepare() -> None:
    """Once, before a command is parsed."""
    _open_descriptors()
    _show_anything()
    _reach_itself()


def _open_descriptors() -> None:
    """Descriptors 0 to 2 that were closed (`>&-`) go nowhere; else the next file that is opened would be stdout."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _show_anything() -> None:
    """What a terminal's encoding has no sign for is written as its number: names are not always text."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _reach_itself() -> None:
    """HTTP_PROXY is for other machines: a server on this one (S3, MLflow) is never asked through it."""
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    names = [name.strip() for name in given.split(",") if name.strip()]
    if "*" in names:
        return
    joined = ",".join(dict.fromkeys((*names, *_LOOPBACK)))
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = joined
