"""The first look at a source item: what it is, and whether it becomes a row.

What the scan learns is kept under the item's key, which changes when the item or the bytes behind it change; so a
second build reads only what is new. A picture that cannot be used is a record with a reason, never an exception.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from posixpath import dirname
from typing import Any

from dataprep import storage
from dataprep.faults import Failure, attempt
from dataprep.filters import FilterSettings, measure
from dataprep.guard import Guard
from dataprep.identity import content_id, phash, pixel_hash
from dataprep.operators import short_hash
from dataprep.pictures import UnreadablePicture, decode
from dataprep.sources import SourceData, SourceItem, list_items, read_item

VERSION = 2  # raise when decoding, hashing or filtering gives another result
NOT_READ = "not-read"  # no bytes came; the only outcome that the next build tries again


@dataclass(frozen=True)
class ListedItem:
    """A source item under the key that changes with it."""

    key: str
    item: SourceItem


def scan_fingerprint(settings: FilterSettings) -> str:
    """Changes with whatever changes a scan record; the filters do not: they are judged later, in the plan."""
    return short_hash([VERSION])


def list_source(source: str) -> Iterator[ListedItem]:
    """The items of a source in its own order, each with its key."""
    versions = {entry.uri: f"{entry.size}:{entry.version}" for entry in storage.list_files(source)}

    @lru_cache(maxsize=8)
    def below(folder: str) -> list[str]:
        return [f"{uri}:{version}" for uri, version in versions.items() if uri.startswith(folder + "/")]

    for item in list_items(source):
        if item.kind == "file":
            behind = [versions.get(uri, "") for uri in (item.uri, item.sketch_uri) if uri]
        else:  # an assembled picture lies in its detail and in the template files below its folder
            behind = below(dirname(item.uri.partition("#")[0]))
        yield ListedItem(_key(item, behind), item)


def scan(listed: ListedItem, guard: Guard) -> dict[str, Any]:
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
        return record | {"reason": NOT_READ, "message": data.message}
    record |= {"id": content_id(data.data), "assembly": data.assembly}
    record["sketch_id"] = None if data.drawn_sketch is None else content_id(data.drawn_sketch)
    with guard.picture():
        seen = guard.call(listed.key, lambda: _look(data))
    if isinstance(seen, Failure):
        return record | {"reason": "unreadable" if seen.reason == "raised" else seen.reason, "message": seen.message}
    return record | seen


def item_of(record: Mapping[str, Any]) -> SourceItem:
    """The source item that a scan record was made from."""
    return SourceItem(
        uri=record["uri"],
        group=record["group"],
        tags=tuple(record["tags"]),
        rating=record["rating"],
        score=record["score"],
        caption=record["caption"],
        sketch_uri=record["sketch_uri"],
        mask_uri=record["mask_uri"],
        kind=record["kind"],
        detail=record["detail"],
    )


def part_name(listed: Iterable[ListedItem]) -> str:
    """The name of the scan part that holds these items."""
    return short_hash([entry.key for entry in listed])


def _key(item: SourceItem, behind: Sequence[str]) -> str:
    """32 hex digits of an item and of the versions of the files behind it."""
    return hashlib.sha256(json.dumps([asdict(item), behind], sort_keys=True).encode()).hexdigest()[:32]


def _look(data: SourceData) -> dict[str, Any]:
    try:
        picture = decode(data.data)
    except UnreadablePicture as error:
        return {"reason": "unreadable", "message": str(error)}
    return measure(picture) | {"pixel_hash": pixel_hash(picture.rgb), "phash": phash(picture.rgb)}
