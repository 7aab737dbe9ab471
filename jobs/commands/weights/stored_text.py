"""What `irodori weights add` and `get` print of the weights that are now in the store."""

from typing import TYPE_CHECKING

from jobs.output import print_result

if TYPE_CHECKING:
    from pipelines.weights.store import StoredWeights

_KNOWN = {True: "the published one", False: "NOT the published one", None: "of the source, none is published"}


def print_stored(record: "StoredWeights", store: str | None, as_json: bool) -> None:
    """The record as it is stored, or in lines for a person."""
    from pipelines.weights.store import store_address

    if as_json:
        print_result(record.text().decode().strip())
        return
    print_result(
        f"{record.name} is in {store_address(store)}: sha256 {record.sha256}\n"
        f"from {record.source}, licence: {record.licence}\n"
        f"sha256 of the source {record.source_sha256} ({_KNOWN[record.known_sha256]})"
    )
