"""The command `irodori lineage`: the chain from a result back to its sources."""

from typing import TYPE_CHECKING, Annotated

import typer

from dataprep.visible import one_line
from jobs.addresses import place
from jobs.options import Json, Tracking
from jobs.output import print_json, print_result

if TYPE_CHECKING:
    from pipelines.lineage import Chain


def command(
    uri_or_run: Annotated[str, typer.Argument(parser=place, help="An output of irodori, or the id of an MLflow run.")],
    tracking_uri: Tracking = None,
    json_: Json = False,
) -> None:
    """The chain from a result back to its sources."""
    from pipelines.lineage import find_chain

    chain = find_chain(uri_or_run, tracking_uri)
    if json_:
        print_json(chain.document())
    else:
        print_result(_lines(chain))


def _lines(chain: "Chain") -> str:
    """The chain for a person: each node, and what it was made from, the result first."""
    names = {node.id: f"{one_line(node.kind):<11} {one_line(node.name)}  {one_line(node.id)}" for node in chain.nodes}
    lines = []
    for node in reversed(chain.nodes):
        lines.append(names[node.id])
        if made_from := [names[start].split("  ")[0] for start, end in chain.edges if end == node.id]:
            lines.append(f"            made from: {'; '.join(made_from)}")
    return "\n".join(lines)
