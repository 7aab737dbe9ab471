"""The command `irodori report`: one page of trainings, evaluations and sweeps."""

from typing import Annotated

import typer

from jobs.addresses import place
from jobs.output import print_result


def command(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", parser=place, help="Outputs of trainings, evaluations or sweeps."),
    ],
    out: Annotated[str, typer.Option(parser=place, help="Where the page and its tables go.")],
) -> None:
    """Write one page that needs no network: pictures, best and worst cases, learning, scores beside published ones."""
    from pipelines.common.addresses import check_buckets

    check_buckets(out, *runs)
    from pipelines.report.report import write_report

    print_result(write_report(runs, out))
