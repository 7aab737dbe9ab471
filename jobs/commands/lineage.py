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
    uri_or_run: Annotated[
        str,
        typer.Argument(
            parser=place, help="An output of irodori, a picture that it coloured, or the id of an MLflow run."
        ),
    ],
    tracking_uri: Tracking = None,
    json_: Json = False,
) -> None:
    """The chain from a result back to its sources."""
    from pipelines.colorization.jobs import is_png
    from pipelines.colorization.picture_chain import PictureChain, picture_chain
    from pipelines.lineage import find_chain

    is_picture = is_png(uri_or_run)
    found = picture_chain(uri_or_run) if is_picture else PictureChain(find_chain(uri_or_run, tracking_uri), ())
    if json_:
        print_json(found.chain.document() | ({"notes": found.notes} if found.notes else {}))
    else:
        print_result("\n".join([_lines(found.chain), *(f"note: {note}" for note in found.notes)]))


def _lines(chain: "Chain") -> str:
    """The chain for a person: each node, and what it was made from, the result first."""
    names = {node.id: f"{one_line(node.kind):<11} {one_line(node.name)}  {one_line(node.id)}" for node in chain.nodes}
    lines = []
    for node in reversed(chain.nodes):
        lines.append(names[node.id])
        if made_from := [names[start].split("  ")[0] for start, end in chain.edges if end == node.id]:
            lines.append(f"            made from: {'; '.join(made_from)}")
    return "\n".join(lines)
