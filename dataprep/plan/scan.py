"""The first look at a source item: what it is, and whether it becomes a row.

What the scan learns is kept under the item's key, which changes when the item or the bytes behind it change; so a
second build reads only what is new (what the source merely says, tags or a score, is taken from its listing). A picture
that cannot be used is a record with a reason, never an exception.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.corpus.hashes import short_hash
from dataprep.faults import Failure, attempt
from dataprep.limits import Limiter
from dataprep.pictures.decode import Picture, UnreadablePicture, decode
from dataprep.pictures.identity import content_id, phash, pixel_hash
from dataprep.plan.filters import measure
from dataprep.sources.items import REFUSED, SourceData, SourceItem
from dataprep.sources.listing import item_of, list_batches
from dataprep.sources.reading import read_item
from dataprep.storage import store as storage

__all__ = [
    "NOT_READ",
    "ListedItem",
    "drawn_id",
    "item_of",
    "list_batches",
    "part_name",
    "scan",
    "scan_fingerprint",
]

VERSION = 2  # raise when decoding, hashing or filtering gives another result for what was a row: all rows are renewed
CACHE_VERSION = 3  # raise with VERSION, and when more pictures can be rows or a record says more: all is read again
Content = Callable[[npt.NDArray[np.uint8]], dict[str, float]]  # RGB (H, W, 3) -> `drawing` and `unsafe`, 0 to 1
NOT_READ = "not-read"  # no bytes came; the only outcome that the next build tries again


@dataclass(frozen=True)
class ListedItem:
    """A source item under the key that changes with it."""

    key: str
    item: SourceItem


def scan_fingerprint(content: str | None = None) -> str:
    """Changes with whatever changes a scan record; the filters do not: they are judged later, in the plan.

    content: names the network behind `scan`'s `content`, its weights among it.
    """
    return short_hash([CACHE_VERSION] if content is None else [CACHE_VERSION, content])


def scan(listed: ListedItem, limiter: Limiter, content: Content | None = None) -> dict[str, Any]:
    """The record of one item (schema.SCAN_SCHEMA). Raises DataError only where the whole store is out of reach."""
    item = listed.item
    record: dict[str, Any] = {
        "item": listed.key,
        "uri": item.uri,
        "group": item.group,
        "tags": list(item.tags),
        "rating": item.rating,
        "score": item.score,
        "caption": item.caption,
        "sketch_uri": item.sketch_uri,
        "mask_uri": item.mask_uri,
        "kind": item.kind,
        "detail": item.detail,
    }
    data = attempt(lambda: read_item(item))
    if isinstance(data, Failure):
        storage.check_reachable(item.uri) if storage.is_s3(item.uri) else None
        reason = data.reason if data.reason == REFUSED else NOT_READ
        return record | {"reason": reason, "message": data.message}
    record |= {"id": content_id(data.data), "assembly": data.assembly}
    record["sketch_id"] = drawn_id(item, data)
    with limiter.picture():
        return record | _seen(listed.key, data, limiter, content)


def part_name(listed: Iterable[ListedItem]) -> str:
    """The name of the scan part that holds these items."""
    return short_hash([entry.key for entry in listed])


def drawn_id(item: SourceItem, data: SourceData) -> str | None:
    """Names what the source gives beside the picture: the columns made of it are made anew when it changes."""
    sketch = None if data.drawn_sketch is None else content_id(data.drawn_sketch)
    if item.mask_uri is None or data.mask is None:
        return sketch
    return content_id(f"{sketch}:{content_id(data.mask)}".encode())


def _seen(key: str, data: SourceData, limiter: Limiter, content: Content | None) -> dict[str, Any]:
    """What the bytes say: the part of the record that is measured, or a reason with its message."""
    looked = limiter.call(key, lambda: _look(data))
    if isinstance(looked, Failure):
        return {"reason": "unreadable" if looked.reason == "raised" else looked.reason, "message": looked.message}
    picture, seen = looked
    if picture is None or content is None:
        return seen
    measured = limiter.call(f"content-{key}", lambda: content(picture.rgb))
    if isinstance(measured, Failure):
        return {"reason": measured.reason, "message": measured.message}
    return seen | measured


def _look(data: SourceData) -> tuple[Picture | None, dict[str, Any]]:
    try:
        picture = decode(data.data)
    except UnreadablePicture as error:
        return None, {"reason": "unreadable", "message": str(error)}
    hashes = {"pixel_hash": pixel_hash(picture.rgb), "phash": phash(picture.rgb)}
    read = {"lossless": picture.lossless, "notes": list(picture.notes) or None}
    return picture, measure(picture) | hashes | read
