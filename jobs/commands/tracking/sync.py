"""The command `irodori tracking sync`."""

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.addresses import place, tracking_store
from jobs.options import Json
from jobs.output import print_json, print_result

if TYPE_CHECKING:
    from pipelines.tracking.sync import Synced

KEPT = "what was sent stays sent"  # by a call that is stopped


def command(
    out: Annotated[str, typer.Argument(parser=place, help="An output: a corpus, a training or an evaluation.")],
    tracking_uri: Annotated[
        str | None,
        typer.Option(parser=tracking_store, metavar="URI", help="The MLflow store, where it is not the one in force."),
    ] = None,
    json_: Json = False,
) -> None:
    """Send to MLflow what it did not take while the work went on; sending again doubles nothing."""
    from pipelines.common.addresses import check_buckets
    from pipelines.tracking.sync import sync

    check_buckets(out)
    synced = sync(out, tracking_uri)
    if json_:
        print_json(synced.document())
    else:
        print_result(_summary(synced))


def _summary(synced: "Synced") -> str:
    """What was sent, and what was not."""
    lines = [f"{synced.out}: {synced.records:,} records sent" if synced.outboxes else f"{synced.out}: nothing to send"]
    if synced.held:
        lines.append(f"  {synced.held} runs are at work and send their own")
    if synced.damaged:
        lines.append(f"  {synced.damaged} lines could not be read, and were passed over")
    return "\n".join(lines)
