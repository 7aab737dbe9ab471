"""The command `irodori corpus merge`."""

from typing import Annotated

import typer

from jobs.addresses import place
from jobs.options import Address, Json, RayWorkers, Tracking
from jobs.output import as_json, engine_console, log_folder
from pipelines.common.overrides import SettingsError

KEPT = "finished shards are kept"  # by a call that is stopped


def command(
    parts: Annotated[list[str], typer.Argument(parser=place, metavar="URI[@n]", help="Two corpora or more.")],
    out: Annotated[str, typer.Option(parser=place, help="Where the new corpus goes; the same call again goes on.")],
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

    opened, shared = [parse_at(part) for part in parts], columns == "shared"
    open_parts(opened, absolute(out), shared)  # what cannot be merged is refused before anything is written
    with engine_console(log_folder(out), "corpus-merge") as (console, log_file):
        report = merge_corpora(
            opened,
            out,
            shared=shared,
            progress=console.progress,
            log_file=log_file,
            workers=workers,
            address=address,
            tracking_uri=tracking_uri,
        )
        console.result(as_json(report.document()) if json_ else report.summary())
