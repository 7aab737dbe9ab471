"""What every command of the command line shares: option types, the log of the engines, how results are shown."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jobs.console import Console, engines_log_to
from pipelines.common.overrides import SettingsError, nearest, override, read_overrides

Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override one setting of the recipe.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")]
Workers = Annotated[int, typer.Option(min=1, help="Training workers (one for each GPU, or CPU processes).")]
Address = Annotated[str | None, typer.Option(help="A Ray cluster to run on; without it, this machine.")]
Tracking = Annotated[
    str | None, typer.Option(help="The MLflow store; default MLFLOW_TRACKING_URI, else irodori.db here (SQLite).")
]


class NamingGroup(TyperGroup):
    """A group that answers an unknown command with the nearest valid ones, or with all where none is near."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise SettingsError(f"there is no command {args[0]!r}: {nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@contextmanager
def engines(folder: Path | None, command: str) -> Iterator[tuple[Console, Path]]:
    """A console, and the file in `folder` that takes what the engines print; None for work that starts no engine."""
    if folder is None:
        yield Console(sys.stdout, sys.stderr), Path(os.devnull)
        return
    log_file = folder / f"{command}.log"
    with engines_log_to(log_file) as console:
        yield console, log_file


def log_folder(out: str) -> Path:
    """Logs lie beside a local output, and in the working directory for one on S3."""
    return Path("irodori-logs") if out.startswith("s3://") else Path(out)


def tell(text: str) -> None:
    """A result on stdout."""
    Console(sys.stdout, sys.stderr).result(text)


def show(document: dict[str, Any], as_json: bool) -> None:
    tell(json.dumps(document, indent=2) if as_json else plain(document))


def plain(document: dict[str, Any], indent: str = "") -> str:
    """A document as aligned lines for a person."""
    width = max((len(key) for key in document), default=0)
    lines = []
    for key, value in document.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}", plain(value, indent + "  ")]
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
            lines.append(f"{indent}{key:<{width}}  {shown if shown is not None else 'not scored'}")
    return "\n".join(lines)


def named_or_file(recipe: str, known: dict[str, Any]) -> Any:
    if recipe in known:
        return known[recipe]
    if Path(recipe).is_file():
        values = read_overrides(recipe)
        return override(named_or_file(str(values.pop("base", "plain")), known), values)
    raise SettingsError(f"there is no recipe {recipe!r} and no such file: {nearest(recipe, known)}")
