"""The command `irodori weights add`."""

from typing import Annotated

import typer

from jobs.addresses import weights_place
from jobs.commands.weights.stored_text import print_stored
from jobs.options import Json, Network, Store


def command(
    name: Network,
    address: Annotated[
        str,
        typer.Argument(
            parser=weights_place, help="A file or folder: a path, file://, s3:// or hf://OWNER/REPOSITORY/FILE."
        ),
    ],
    store: Store = None,
    accept_other_sha256: Annotated[
        bool, typer.Option("--accept-other-sha256", help="Take a file that is not the published one; it is recorded.")
    ] = False,
    json_: Json = False,
) -> None:
    """Check a published weight file and put it into the store; nothing of what it holds is run."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.store import published, store_address

    published(name)
    check_buckets(store_address(store), address)
    from pipelines.weights.intake import add

    print_stored(add(name, address, store, accept_other_sha256), store, json_)
