"""The command `irodori corpus build`."""

from typing import Annotated

import typer

from jobs.addresses import place
from jobs.options import Address, DryRun, Json, Set, Tracking
from jobs.output import as_json, engine_console, log_folder
from jobs.recipe_files import recipe_by_name
from pipelines.common.overrides import override, parse_assignments

KEPT = "scans, plans and finished shards are kept"  # by a call that is stopped


def command(
    source: Annotated[
        list[str],
        typer.Option(parser=place, help="A folder, archive, index or s3:// prefix; may be repeated."),
    ],
    out: Annotated[str, typer.Option(parser=place, help="Where the corpus is or will be.")] = "corpus",
    recipe: Annotated[str, typer.Option(help="The name of a recipe, or a YAML file of settings.")] = "plain",
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first N pictures of the sources.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="CPUs to use; all by default.")] = None,
    address: Address = None,
    tracking_uri: Tracking = None,
    dry_run: DryRun = False,
    retry_rejects: Annotated[
        list[str],
        typer.Option(
            metavar="REASON",
            help="Try again what failed for this reason (unreadable, timeout, ..., or all); may be repeated.",
        ),
    ] = [],  # noqa: B006 (typer reads the defaults, nothing changes them)
    json_: Json = False,
    set_: Set = [],  # noqa: B006
) -> None:
    """Build or extend a corpus from pictures; only what is missing is computed. --dry-run shows what, and why."""
    from pipelines.recipes.corpora import CORPUS_RECIPES

    base, changes = recipe_by_name(recipe, CORPUS_RECIPES), parse_assignments(set_)
    override(base, changes)  # a wrong one is refused before anything heavy is imported
    from pipelines.corpus_build.build import build_corpus
    from pipelines.corpus_build.effect import with_effect

    resolved = with_effect(base, changes)
    folder = None if dry_run else log_folder(out)
    with engine_console(folder, "corpus-build") as (console, log_file):
        report = build_corpus(
            source,
            out,
            resolved,
            limit=limit,
            retry=retry_rejects,
            dry_run=dry_run,
            progress=console.progress,
            log_file=log_file,
            workers=workers,
            address=address,
            tracking_uri=tracking_uri,
        )
        hint = "" if dry_run else f"\n  look at it: irodori corpus browse {out}"
        console.result(as_json(report.document()) if json_ else report.summary() + hint)
