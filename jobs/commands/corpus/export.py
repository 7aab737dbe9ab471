"""The command `irodori corpus export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.addresses import place
from jobs.options import Address, CorpusAt, Json, RayWorkers
from jobs.output import as_json, engine_console
from pipelines.common.overrides import SettingsError

if TYPE_CHECKING:
    from dataprep.corpus_tools.export_settings import ExportSettings

KEPT = "finished shards are kept"  # by a call that is stopped


def command(
    uri: CorpusAt,
    to: Annotated[str, typer.Option(help="wide (Parquet), webdataset (tar), folders, or official (zips).")],
    out: Annotated[
        str,
        typer.Option(parser=place, help="Where the export goes; the same call again goes on where it stopped."),
    ],
    columns: Annotated[str, typer.Option(help="Derived columns to take, by commas; all by default.")] = "",
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    style: Annotated[str | None, typer.Option(help="The sketch of the official layout; default xdog.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first N rows.")] = None,
    workers: RayWorkers = None,
    address: Address = None,
    json_: Json = False,
) -> None:
    """Write a snapshot in a layout that other tools read."""
    settings = _settings(to, columns, split, style, limit)
    from dataprep.corpus_tools.diff import parse_at
    from pipelines.corpus_tools.export import export_corpus

    corpus, number = parse_at(uri)
    # Beside an export there is nothing but the export: the engine's log goes to the working directory.
    folder = Path("irodori-logs") if workers or address else None
    with engine_console(folder, "corpus-export") as (console, log_file):
        report = export_corpus(
            corpus,
            number,
            out,
            settings,
            progress=console.progress,
            log_file=log_file,
            workers=workers,
            address=address,
        )
        console.result(as_json(report.document()) if json_ else report.summary())


def _settings(to: str, columns: str, split: str | None, style: str | None, limit: int | None) -> "ExportSettings":
    """What is wrong with the settings is wrong with the call: a SettingsError."""
    from dataprep.corpus_tools.export_settings import ExportSettings

    names = tuple(name for name in columns.replace(" ", "").split(",") if name)
    try:
        return ExportSettings(to, names, split, style, limit)
    except ValueError as error:
        raise SettingsError(str(error)) from error
