"""The commands `irodori corpus diff, export, gc, merge`: what is done with corpora that are built."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.options import Address, DryRun, Json, Tracking, engines, log_folder, tell
from pipelines.common.overrides import SettingsError

app = typer.Typer()

At = Annotated[str, typer.Argument(metavar="URI[@n]", help="A corpus, or one of its snapshots as URI@n.")]
RayWorkers = Annotated[
    int | None, typer.Option(min=1, help="CPUs to use through Ray; without it, this process works alone.")
]


@app.command("diff")
def corpus_diff(a: At, b: At, json_: Json = False) -> None:
    """Which rows, facts, columns and rejects two snapshots do not share; "equal" where their digests agree."""
    from dataprep.corpus_tools.diff import diff, parse_at

    difference = diff(*parse_at(a), *parse_at(b))
    document = difference.document()
    equal = f"{a} and {b} are equal: digest {difference.before['digest']}"
    _tell(document, equal if document["equal"] else difference.summary(), json_)


@app.command("export")
def corpus_export(
    uri: At,
    to: Annotated[str, typer.Option(help="wide (Parquet), webdataset (tar), folders, or official (zips).")],
    out: Annotated[str, typer.Option(help="Where the export goes; the same call again goes on where it stopped.")],
    columns: Annotated[str, typer.Option(help="Derived columns to take, by commas; all by default.")] = "",
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    style: Annotated[str | None, typer.Option(help="The sketch of the official layout; default xdog.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first N rows.")] = None,
    workers: RayWorkers = None,
    address: Address = None,
    json_: Json = False,
) -> None:
    """Write a snapshot in a layout that other tools read."""
    from dataprep.corpus_tools.export_settings import ExportSettings

    wanted = tuple(name for name in columns.replace(" ", "").split(",") if name)
    settings = _checked(ExportSettings, to, wanted, split, style, limit)
    from dataprep.corpus_tools.diff import parse_at
    from pipelines.corpus_tools.export import export_corpus

    corpus, number = parse_at(uri)
    # Beside an export there is nothing but the export: the engine's log goes to the working directory.
    with engines(Path("irodori-logs") if workers or address else None, "corpus-export") as (console, log_file):
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
        console.result(_told(report.document(), report.summary(), json_))


@app.command("gc")
def corpus_gc(
    uri: Annotated[str, typer.Argument(help="The corpus.")],
    keep: Annotated[int | None, typer.Option(min=1, help="Drop all but the N newest snapshots; else none.")] = None,
    older_than: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="Leave what was written later: a build may be using it.")
    ] = 24.0,
    scan: Annotated[bool, typer.Option("--scan", help="Remove scan caches too; the next build reads again.")] = False,
    dry_run: DryRun = False,
    json_: Json = False,
) -> None:
    """Remove what no kept snapshot names: data files, tables, working files, leftovers."""
    from dataprep.corpus_tools.garbage import find_garbage
    from pipelines.common.addresses import absolute

    garbage = find_garbage(absolute(uri), keep=keep, grace_hours=older_than, with_scan=scan)
    if not dry_run:
        garbage.remove()
    _tell(garbage.document() | {"removed": not dry_run}, garbage.summary(removed=not dry_run), json_)


@app.command("merge")
def corpus_merge(
    parts: Annotated[list[str], typer.Argument(metavar="URI[@n] URI[@n] ...", help="Two corpora or more.")],
    out: Annotated[str, typer.Option(help="Where the new corpus goes; the same call again goes on.")],
    columns: Annotated[str, typer.Option(help="all: their operators must agree; shared: take those that do.")] = "all",
    workers: RayWorkers = None,
    address: Address = None,
    tracking_uri: Tracking = None,
    json_: Json = False,
) -> None:
    """Make one corpus of several; duplicates across them become rejects, nothing is computed again."""
    if columns not in ("all", "shared"):
        raise SettingsError(f"--columns is all or shared, not {columns!r}")
    if len(parts) < 2:
        raise SettingsError("a merge needs at least two corpora")
    from dataprep.corpus_tools.diff import parse_at
    from pipelines.common.addresses import absolute
    from pipelines.corpus_tools.merge import merge_corpora, open_parts

    opened = [parse_at(part) for part in parts]
    open_parts(opened, absolute(out), columns == "shared")  # what cannot be merged is said before anything is written
    with engines(log_folder(out), "corpus-merge") as (console, log_file):
        report = merge_corpora(
            opened,
            out,
            shared=columns == "shared",
            progress=console.progress,
            log_file=log_file,
            workers=workers,
            address=address,
            tracking_uri=tracking_uri,
        )
        console.result(_told(report.document(), report.summary(), json_))


def _checked(settings: Any, *values: Any) -> Any:
    """The settings object; what is wrong with it is wrong with the call."""
    try:
        return settings(*values)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _told(document: dict[str, Any], summary: str, as_json: bool) -> str:
    return json.dumps(document, indent=2) if as_json else summary


def _tell(document: dict[str, Any], summary: str, as_json: bool) -> None:
    tell(_told(document, summary, as_json))
