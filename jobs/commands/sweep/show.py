"""The command `irodori sweep show`: the leaderboard of a sweep."""

from typing import Annotated

import typer

from jobs.addresses import place
from jobs.options import Json
from jobs.output import as_json, print_result


def command(
    out: Annotated[str, typer.Argument(parser=place, help="The output of a sweep.")],
    json_: Json = False,
) -> None:
    """The scores of a sweep's cells, ranked where they can be compared, with bounds over pairs and seeds."""
    from pipelines.common.addresses import absolute, check_buckets

    check_buckets(out)
    from pipelines.sweep.leaderboard import document, failures, rankings, read_cells, text

    address = absolute(out)
    board, failed = rankings(read_cells(address)), failures(address)
    print_result(as_json(document(board, failed)) if json_ else text(board, failed))
