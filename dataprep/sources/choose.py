"""The selection at work: from a table of candidates to items with keys, all in Arrow."""

import hashlib
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.arrow import one_array, with_tag
from dataprep.corpus.schema import LISTING_SCHEMA, STRINGS
from dataprep.sources.items import CANDIDATES
from dataprep.sources.selection import Selection

Flags = npt.NDArray[np.bool_]
_READ_FROM = ("uri", "kind", "detail", "sketch_uri", "mask_uri", "version")  # what decides which bytes are read


def choose(candidates: pa.Table, selection: Selection, counts: Counter[str]) -> pa.Table:
    """The selected candidates (items.CANDIDATES) as schema.LISTING_SCHEMA; the others are counted by the first rule
    that drops them."""
    candidates = candidates.combine_chunks()
    taken = np.ones(len(candidates), bool)
    judged = ~_flags(one_array(candidates["refused"]))  # what is refused becomes a reject, whatever is selected
    for word, dropped in _rules(candidates, selection):
        hit = taken & judged & dropped
        counts[word] += int(hit.sum())
        taken &= ~hit
    rows = candidates.filter(pa.array(taken)).combine_chunks()
    columns = {name: one_array(rows[name]) for name in CANDIDATES.names}
    columns |= {"key": _keys(rows), "group": _groups(rows, selection)}
    columns["tags"] = _filled_lists(columns["tags"])
    return pa.table([columns[name] for name in LISTING_SCHEMA.names], schema=LISTING_SCHEMA)


def _rules(table: pa.Table, selection: Selection) -> Iterator[tuple[str, Flags]]:
    """(name, which candidates it drops) of each rule in use."""
    if not selection.take_deleted:
        yield "deleted", _flags(one_array(table["deleted"]))
    if not selection.take_banned:
        yield "banned", _flags(one_array(table["banned"]))
    yield from _tag_rules(one_array(table["tags"]), selection)
    if selection.ratings:
        rating = one_array(table["rating"])
        yield "rating unknown", _unknown(rating)
        yield "ratings", ~_flags(pc.is_in(rating, pa.array(selection.ratings, pa.string())))
    width, height = one_array(table["width"]), one_array(table["height"])
    short = pc.min_element_wise(width, height, skip_nulls=False)
    long = pc.max_element_wise(width, height, skip_nulls=False)
    yield from _limits(
        "score", one_array(table["score"]), "min_score", selection.min_score, "max_score", selection.max_score
    )
    yield from _limits("size", short, "min_side", selection.min_side, "", None)
    yield from _limits("size", long, "", None, "max_side", selection.max_side)
    date = one_array(table["date"])
    for name, bound, beyond in (
        ("date_from", selection.date_from, pc.less),
        ("date_to", selection.date_to, pc.greater),
    ):
        if bound is not None:
            yield "date unknown", _unknown(date)
            yield name, _flags(beyond(pc.utf8_slice_codeunits(date, 0, len(bound)), bound))


def _tag_rules(tags: pa.ListArray, selection: Selection) -> Iterator[tuple[str, Flags]]:
    if not (selection.all_tags or selection.any_tags or selection.no_tags):
        return
    yield "tags unknown", _unknown(tags)
    for tag in selection.all_tags:
        yield "all_tags", ~with_tag(tags, (tag,))
    if selection.any_tags:
        yield "any_tags", ~with_tag(tags, selection.any_tags)
    if selection.no_tags:
        yield "no_tags", with_tag(tags, selection.no_tags)


def _limits(
    what: str, values: pa.Array, low_name: str, low: float | None, high_name: str, high: float | None
) -> Iterator[tuple[str, Flags]]:
    if low is not None or high is not None:
        yield f"{what} unknown", _unknown(values)
    if low is not None:
        yield low_name, _flags(pc.less(values, low))
    if high is not None:
        yield high_name, _flags(pc.greater(values, high))


def _groups(rows: pa.Table, selection: Selection) -> pa.Array:
    if selection.group_by == "none":
        return pa.nulls(len(rows), pa.string())
    return one_array(rows[{"auto": "group", "pool": "pool", "parent": "parent"}.get(selection.group_by, "column")])


def _keys(rows: pa.Table) -> pa.Array:
    """32 hex digits of each item and of the versions of the files behind it."""
    parts = [pc.fill_null(one_array(rows[name]), "") for name in _READ_FROM]
    lines = pc.cast(pc.binary_join_element_wise(*parts, "\0"), pa.binary()).to_pylist()
    return pa.array([hashlib.sha256(line).hexdigest()[:32] for line in lines], pa.string())


def _filled_lists(tags: pa.ListArray) -> pa.ListArray:
    """Unknown tags as no tags."""
    if not tags.null_count:
        return tags
    offsets = np.concatenate([[0], np.cumsum(pc.fill_null(pc.list_value_length(tags), 0).to_numpy())])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), tags.flatten(), type=STRINGS)


def _unknown(values: pa.Array) -> Flags:
    flags: Flags = pc.is_null(values).to_numpy(zero_copy_only=False)
    return flags


def _flags(values: pa.Array) -> Flags:
    flags: Flags = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return flags
