"""The command `irodori corpus gc`."""

from typing import Annotated

import typer

from jobs.addresses import place
from jobs.options import DryRun, Json
from jobs.output import as_json, print_result

KEPT = "what was removed stays removed"  # by a call that is stopped


def command(
    uri: Annotated[str, typer.Argument(parser=place, help="The corpus.")],
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
    document = garbage.document() | {"removed": not dry_run}
    print_result(as_json(document) if json_ else garbage.summary(removed=not dry_run))
