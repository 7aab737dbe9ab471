"""The commands `irodori corpus ...`."""

import json
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from dataprep.errors import DataError
from jobs.commands.corpus_tags import app as tags
from jobs.commands.corpus_tools import At
from jobs.commands.corpus_tools import app as shelf
from jobs.options import (
    Address,
    DryRun,
    Json,
    NamingGroup,
    Set,
    Tracking,
    engines,
    log_folder,
    named_or_file,
    show,
    tell,
)
from pipelines.common.overrides import override, parse_assignments

Retry = Annotated[
    list[str],
    typer.Option(
        "--retry-rejects",
        metavar="REASON",
        help="Try again what failed for this reason (unreadable, timeout, ..., or all); may be repeated.",
    ),
]
app = typer.Typer(cls=NamingGroup, help="Build, inspect and look after a corpus.", no_args_is_help=True)
app.add_typer(shelf)
app.add_typer(tags)


@app.command("build")
def corpus_build(
    source: Annotated[list[str], typer.Option(help="A folder, archive, index or s3:// prefix; may be repeated.")],
    out: Annotated[str, typer.Option(help="Where the corpus is or will be.")] = "corpus",
    recipe: Annotated[str, typer.Option(help="The name of a recipe, or a YAML file of settings.")] = "plain",
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first N pictures of the sources.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="CPUs to use; all by default.")] = None,
    address: Address = None,
    tracking_uri: Tracking = None,
    dry_run: DryRun = False,
    retry_rejects: Retry = [],  # noqa: B006 (typer reads the default, nothing changes it)
    json_: Json = False,
    set_: Set = [],  # noqa: B006
) -> None:
    """Build or extend a corpus from pictures; only what is missing is computed. --dry-run says what, and why."""
    from pipelines.recipes.corpora import CORPUS_RECIPES

    resolved = override(named_or_file(recipe, CORPUS_RECIPES), parse_assignments(set_))
    from pipelines.corpus_build.build import build_corpus

    folder = None if dry_run else log_folder(out)
    with engines(folder, "corpus-build") as (console, log_file):
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
        told = report.summary() + ("" if dry_run else f"\n  look at it: irodori corpus browse {out}")
        console.result(json.dumps(report.document(), indent=2) if json_ else told)


@app.command("info")
def corpus_info(uri: At, json_: Json = False) -> None:
    """Snapshot, digest, rows, rejects, operators and bytes of a corpus."""
    from dataprep.corpus_tools.diff import parse_at
    from dataprep.corpus_tools.info import info

    show(info(*parse_at(uri)), json_)


@app.command("verify")
def corpus_verify(uri: At, json_: Json = False) -> None:
    """Read every file again: hashes, schema, alignment, pictures. Exit 1 names what is damaged."""
    from dataprep.corpus_tools.diff import parse_at
    from dataprep.corpus_tools.verify import verify

    damages = verify(*parse_at(uri))
    if json_:
        show({"damages": damages}, json_)
        raise typer.Exit(1 if damages else 0)
    if damages:
        raise DataError("\n".join([f"{uri}: {len(damages)} damaged:", *damages]))
    tell(f"{uri}: every file is whole.")


@app.command("browse")
def corpus_browse(
    uri: Annotated[str, typer.Argument(help="A corpus, or one of its snapshots as URI@n.")] = "corpus",
    out: Annotated[str, typer.Option(help="The HTML file; default: named for corpus and snapshot, here.")] = "",
    samples: Annotated[int, typer.Option(min=1, max=1000, help="Pictures to show.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Decides which ones.")] = 0,
    shards: Annotated[int, typer.Option(min=0, help="Count the rows of at most N shards; 0 for all.")] = 1000,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json_: Json = False,
) -> None:
    """One offline page: samples of every column, what was dropped and why, what the rows are like."""
    from dataprep.corpus_tools.diff import parse_at

    corpus, number = parse_at(uri)
    from pipelines.corpus_tools.browse import make_page, page_file, summary, write_page

    page = make_page(corpus, number, samples, seed, shards)
    file = out or page_file(corpus, page.document["snapshot"])
    size = write_page(page, file)
    told = {"page": file, "snapshot": page.document["snapshot"], "rows": page.rows, "samples": len(page.samples)}
    tell(json.dumps(told | {"bytes": size}, indent=2) if json_ else summary(page, file, size))
    if open_ and not file.startswith("s3://"):
        webbrowser.open(Path(file).resolve().as_uri())
