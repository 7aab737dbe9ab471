"""The command `irodori sweep RECIPE`: score every cell of a recipe that is not scored yet."""

from typing import Annotated

import typer

from jobs.addresses import local_place, place
from jobs.options import Address, Device, Json, Tracking
from jobs.output import as_json, engine_console, log_folder

KEPT = "scored cells and finished parts are kept"  # by a call that is stopped


def command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", parser=local_place, help="A YAML file: docs/evaluation.md has its keys.")
    ],
    out: Annotated[str, typer.Option(parser=place, help="Where the cells go; those that are there are reused.")],
    newest_of: Annotated[
        list[str],
        typer.Option(
            "--newest-of",
            parser=place,
            metavar="DIR",
            help="Score the checkpoint below this folder that was written last too; may be repeated.",
        ),
    ] = [],  # noqa: B006 (typer reads the default, nothing changes it)
    pictures: Annotated[
        list[str],
        typer.Option(
            "--pictures",
            metavar="[NAME=]DIR",
            help="Score another system's results too (`irodori evaluate --write-pairs`); may be repeated.",
        ),
    ] = [],  # noqa: B006 (typer reads the default, nothing changes it)
    device: Device = "auto",
    address: Address = None,
    tracking_uri: Tracking = None,
    json_: Json = False,
) -> None:
    """Score every cell of a recipe that is not scored yet, then show the leaderboard."""
    from jobs.sizes import parse_size
    from pipelines.common.addresses import check_buckets
    from pipelines.common.errors import PipelineError
    from pipelines.execution.capacity import checked_device
    from pipelines.sweep.recipe import read_recipe

    wanted = checked_device(device)
    found = read_recipe(recipe, newest_of, pictures)
    size = parse_size(found.size or None)
    check_buckets(found.corpus, out, *found.checkpoints, *found.newest_of, *found.pictures.values())
    from pipelines.sweep.leaderboard import document, rankings, read_cells, text
    from pipelines.sweep.run import run_sweep

    with engine_console(log_folder(out), "sweep") as (console, log_file):
        report = run_sweep(
            found,
            out,
            size=size,
            log_file=log_file,
            progress=console.progress,
            tracking_uri=tracking_uri,
            address=address,
            device=wanted,
        )
        board = rankings(read_cells(out))
        console.result(as_json(document(board, report.failed)) if json_ else text(board, report.failed))
    if report.failed:
        raise PipelineError(
            f"{len(report.failed)} of {len(found.cells())} cells failed, and {len(report.scored) + len(report.reused)} "
            "are scored: the same command tries the others again"
        )
