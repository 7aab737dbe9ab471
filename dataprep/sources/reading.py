"""The bytes of one listed item: a file, a member by one range read, or a drawing that is assembled."""

import json
from typing import Any

from dataprep.pictures import assembled
from dataprep.pictures.decode import UnreadablePicture, encode_png
from dataprep.sources.archives import member_bytes
from dataprep.sources.items import MOST_BYTES, RefusedItem, SourceData, SourceItem
from dataprep.storage.store import read_bytes


def read_item(item: SourceItem) -> SourceData:
    """The bytes of one item. Raises DataError where its file is gone, RefusedItem where it cannot be trusted."""
    if item.kind == "assembled":
        return _assembled(item)
    places: dict[str, Any] = json.loads(item.detail) if item.detail else {}
    if "refused" in places:
        raise RefusedItem(places["refused"])
    sketch, mask = (
        None if uri is None else _content(uri, places.get(role))
        for role, uri in (("sketch", item.sketch_uri), ("mask", item.mask_uri))
    )
    return SourceData(_content(item.uri, places.get("picture")), drawn_sketch=sketch, mask=mask)


def _content(uri: str, place: dict[str, int] | None) -> bytes:
    return read_bytes(uri, MOST_BYTES) if place is None else member_bytes(uri[: place["at"]], place)


def _assembled(item: SourceItem) -> SourceData:
    fields = json.loads(item.detail)
    assembly, size = assembled.from_json(fields["assembly"]), fields["size"]
    try:
        line_art, mask = assembled.line_art(assembly, size), assembled.mask(assembly, size)
    except UnreadablePicture as error:
        raise RefusedItem(f"its template: {error}") from error
    return SourceData(
        data=assembled.svg_of(assembly, size).encode(),
        drawn_sketch=encode_png(line_art),
        assembly=fields["assembly"],
        mask=encode_png(mask),
    )
