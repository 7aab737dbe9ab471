"""Sends what is in the outboxes of an output: the records that MLflow did not take while the work went on."""

import json
from dataclasses import asdict, dataclass
from typing import Any, NotRequired, TypedDict

from dataprep.documents import DocumentError, checked, parse_json
from dataprep.secrets import HIDDEN, without_secrets
from dataprep.storage.store import exists, join, read_bytes, write_whole
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.tracking.delivery import Delivery
from pipelines.tracking.outbox import LINEAGE, MOST_LINEAGE_BYTES, Outbox, fetch, forget, outboxes
from pipelines.tracking.stores import (
    absolute_store,
    check_store,
    first_line,
    import_store,
    send_errors,
    tracking_uri_of,
)


class _Lineage(TypedDict):
    outbox: NotRequired[str]


@dataclass(frozen=True)
class Synced:
    """What was sent: outboxes, records, lines that could not be read, and outboxes of work that goes on."""

    out: str
    outboxes: int
    records: int
    damaged: int
    held: int

    def document(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def sync(out: str, tracking_uri: str | None = None) -> Synced:
    """Send what is left of the work on `out`; a second call finds nothing. The store is the one given, else the one in
    force where it is that of the work.

    Raises PipelineError where the work had another store, and where the store does not take it; then nothing is lost,
    and the same call goes on.
    """
    out = absolute(out)
    fetch(out)
    found, held = outboxes(out)
    records = damaged = 0
    try:
        for outbox in found:
            damaged += outbox.contents.damaged
            if outbox.contents.opening is not None:
                records += _send(outbox, _store(outbox, tracking_uri))
            else:  # work that ended before it had said what it is
                outbox.path.rename(outbox.path.with_suffix(".unreadable"))
    finally:
        for outbox in found:
            outbox.close()
    return Synced(out, len(found), records, damaged, len(held))


def _send(outbox: Outbox, store: str) -> int:
    """Send one outbox; returns how many records it had."""
    check_store(store)
    import_store(store)
    if not outbox.contents.is_ended:  # its process was killed before it could say so
        last = outbox.contents.records[-1]
        outbox.record({"end": "KILLED", "at_ms": last.get("at_ms")})
    waiting = len(outbox.unsent())
    try:
        Delivery(outbox, store).send()
    except send_errors() as error:
        raise PipelineError(
            f"the MLflow store {without_secrets(store)} takes no records ({first_line(error)}); "
            f"they are kept in {outbox.path.parent}"
        ) from error
    name_run(outbox)
    forget(outbox.out, outbox.path.name)
    return waiting


def name_run(outbox: Outbox) -> None:
    """Write the id of the run into the lineage beside the output, where it was not known when that was written."""
    place, run_id = join(outbox.out, LINEAGE), outbox.contents.run_id
    if run_id is None or not exists(place):
        return
    try:
        # The name of a file that is no text stays what it is: the document is written again.
        document = checked(parse_json(read_bytes(place, MOST_LINEAGE_BYTES), place, file_names=True), _Lineage, place)
    except DocumentError:
        return  # not the document of this work, which is whole
    if document.get("outbox") == outbox.path.stem:
        del document["outbox"]
        write_whole(place, json.dumps({**document, "run_id": run_id}, indent=2).encode())


def _store(outbox: Outbox, given: str | None) -> str:
    """The store that is named, else the one in force, which must be that of the work: an outbox that came with a copied
    result may name any place, and the password of a store is kept nowhere."""
    if given:
        return given
    opening = outbox.contents.opening
    assert opening is not None, "an outbox begins with what the work is"
    in_force, recorded = tracking_uri_of(None), without_secrets(opening["store"])
    if without_secrets(absolute_store(in_force)) == recorded:
        return in_force
    why = (
        "a store's password is kept nowhere" if HIDDEN in recorded else "nothing is sent to a store that only it names"
    )
    raise PipelineError(
        f"{outbox.path} belongs into the MLflow store {recorded}, and the one in force here is "
        f"{without_secrets(in_force)} ({why}): name one by --tracking-uri or MLFLOW_TRACKING_URI"
    )
