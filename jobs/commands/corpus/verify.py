"""The command `irodori corpus verify`."""

import sys

import typer

from dataprep.visible import one_line
from jobs.console import Console
from jobs.options import CorpusAt, Json
from jobs.output import print_json, print_result


def command(uri: CorpusAt, json_: Json = False) -> None:
    """Read every file again: hashes, schema, alignment, pictures. Exit 1 names what is damaged."""
    from dataprep.corpus_tools.diff import parse_at
    from dataprep.corpus_tools.verify import verify

    damages = verify(*parse_at(uri))
    if json_:
        print_json({"damages": damages})
        raise typer.Exit(1 if damages else 0)
    if damages:
        report = Console(sys.stdout, sys.stderr).message
        for line in (f"irodori: {uri}: {len(damages)} damaged:", *damages):
            report(one_line(line))
        raise typer.Exit(1)
    print_result(f"{uri}: every file is whole.")
