"""The command `irodori corpus browse`."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from jobs.addresses import place
from jobs.options import Json
from jobs.output import as_json, print_result


def command(
    uri: Annotated[str, typer.Argument(parser=place, help="A corpus, or one of its snapshots as URI@n.")] = "corpus",
    out: Annotated[
        str | None, typer.Option(parser=place, help="The HTML file; default: named for corpus and snapshot, here.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=1000, help="Pictures to show.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Decides which ones.")] = 0,
    shards: Annotated[int, typer.Option(min=0, help="Count the rows of at most N shards; 0 for all.")] = 1000,
    show_rejects_from: Annotated[
        list[str],
        typer.Option(
            help="Read pictures of rejects that lie in this folder; may be repeated. Else none is read: their "
            "addresses are those of whoever built the corpus.",
            metavar="ADDRESS",
            parser=place,
        ),
    ] = [],  # noqa: B006 (typer reads the default, nothing changes it)
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json_: Json = False,
) -> None:
    """One offline page: samples of every column, what was dropped and why, what the rows are like."""
    from dataprep.corpus_tools.diff import parse_at

    corpus, number = parse_at(uri)
    from pipelines.corpus_tools.browse import make_page, page_file, summary, write_page

    page = make_page(corpus, number, samples, seed, shards, rejects_from=show_rejects_from)
    file = out or page_file(corpus, page.document["snapshot"])
    size = write_page(page, file)
    document = {
        "page": file,
        "snapshot": page.document["snapshot"],
        "rows": page.rows,
        "samples": len(page.samples),
        "bytes": size,
    }
    print_result(as_json(document) if json_ else summary(page, file, size))
    if open_ and not file.startswith("s3://"):
        webbrowser.open(Path(file).resolve().as_uri())
