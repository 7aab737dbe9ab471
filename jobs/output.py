"""What a command prints, and where the engines that it starts print."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataprep.secrets import without_secrets
from dataprep.visible import one_line
from jobs.console import Console, engines_log_to
from pipelines.common.log_folder import log_folder as log_folder
from pipelines.common.progress import NOTICES


@contextmanager
def engine_console(folder: Path | None, command: str) -> Iterator[tuple[Console, Path]]:
    """A console, and the file in `folder` that takes what the engines print; None for work that starts no engine."""
    if folder is None:
        console = Console(sys.stdout, sys.stderr)
        with _notices_to(console):
            yield console, Path(os.devnull)
        return
    log_file = folder / f"{command}.log"
    with engines_log_to(log_file) as console, _notices_to(console):
        yield console, log_file


@contextmanager
def _notices_to(console: Console) -> Iterator[None]:
    """What work has to say beside its progress (NOTICES and the loggers below it) is a line of its own."""
    handler = _ConsoleLines(console)
    NOTICES.addHandler(handler)
    NOTICES.propagate = False
    try:
        yield
    finally:
        NOTICES.propagate = True
        NOTICES.removeHandler(handler)


class _ConsoleLines(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show the line."""
        self._console.message(f"irodori: {one_line(without_secrets(record.getMessage()))}")


def print_result(text: str) -> None:
    """A result on stdout."""
    Console(sys.stdout, sys.stderr).result(text)


def print_json(document: Mapping[str, Any]) -> None:
    """A document on stdout, for scripts."""
    print_result(as_json(document))


def as_json(document: Mapping[str, Any]) -> str:
    """A document as scripts read it."""
    return json.dumps(document, indent=2)


def as_lines(document: Mapping[str, Any], indent: str = "") -> str:
    """A document as aligned lines for a person."""
    width = max((len(key) for key in document), default=0)
    lines = []
    for key, value in document.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{one_line(key)}", as_lines(value, indent + "  ")]
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
            lines.append(f"{indent}{one_line(key):<{width}}  {one_line('none' if shown is None else shown)}")
    return "\n".join(lines)
