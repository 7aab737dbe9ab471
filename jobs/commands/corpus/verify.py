"""The command `irodori corpus verify`."""

import typer

from dataprep.errors import DataError
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
        raise DataError("\n".join([f"{uri}: {len(damages)} damaged:", *damages]))
    print_result(f"{uri}: every file is whole.")
