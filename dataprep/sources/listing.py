"""What a source is, and its items: found, selected, counted, and given as Arrow tables."""

import json
import os
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from dataprep.errors import DataError
from dataprep.pictures.names import NAMES
from dataprep.sources.choose import choose
from dataprep.sources.danbooru.dump import danbooru, find_dump
from dataprep.sources.facts import FactReader
from dataprep.sources.folder_tree import tree
from dataprep.sources.index_table import table
from dataprep.sources.items import SourceItem, tables
from dataprep.sources.left_out import Left
from dataprep.sources.notes import Notes, ReadAs
from dataprep.sources.official_layout import is_triplets, triplets
from dataprep.sources.selection import Selection
from dataprep.sources.tables.rows import SUFFIXES as TABLES
from dataprep.sources.tables.rows import is_table
from dataprep.sources.webdataset import is_shard, shard_rows
from dataprep.storage import store as storage

EVERYTHING = Selection()


def list_batches(
    source: str,
    selection: Selection = EVERYTHING,
    counts: Counter[str] | None = None,
    notes: Notes | None = None,
) -> Iterator[pa.Table]:
    """The selected items of a source, some ten thousand a table (schema.LISTING_SCHEMA).

    `counts` grows by what is not taken, by reason: the rule of the selection, what the source lacks ("no file", "no
    metadata", "duplicate id"), or the kind of a file; `left_out.Left` tells them apart. `notes` grows by what the
    source was read as and by facts that could not be read. Raises DataError for a source that is empty, broken, or of
    which nothing is selected.
    """
    counts = Counter() if counts is None else counts
    before = counts.copy()
    taken = grouped = usable = 0
    refusal = ""
    for candidates in _candidates(source, FactReader(selection.column, notes), counts):
        chosen = choose(candidates, selection, counts)
        refused = candidates.filter(pc.fill_null(candidates["refused"], False))
        taken += len(chosen)
        usable += len(chosen) - len(refused)
        refusal = refusal or _first_refusal(refused)
        grouped += len(chosen) - chosen["group"].null_count
        if len(chosen):
            yield chosen
    _check_any(source, selection, taken, grouped, counts - before)
    if not usable:
        raise DataError(f"{source}: nothing here can be used. {refusal}.")


def list_items(source: str, selection: Selection = EVERYTHING) -> Iterator[SourceItem]:
    """The same one by one: for a notebook, a test, a small source."""
    for batch in list_batches(source, selection):
        yield from (item_of(row) for row in batch.to_pylist())


def item_of(row: dict[str, object]) -> SourceItem:
    """The item of a row of schema.LISTING_SCHEMA or SCAN_SCHEMA."""
    fields = {name: row[name] for name in SourceItem.__dataclass_fields__}
    return SourceItem(**(fields | {"tags": tuple(row["tags"])}))  # type: ignore[arg-type]


def _candidates(source: str, reader: FactReader, counts: Counter[str]) -> Iterator[pa.Table]:
    """What the source is, and its candidates."""
    source = source if storage.is_s3(source) else os.path.normpath(source)

    def read_as(layout: str, why: str) -> None:
        reader.notes.read_as.append(ReadAs(source, layout, why))

    file = storage.file_entry(source)
    if is_table(source):
        read_as("an index", "its columns name pictures")
        return table(source, reader, counts)
    if file is not None:
        if not is_shard(source):
            raise DataError(f"{source}: not a source. A file must be an index ({', '.join(TABLES)}) or a .tar or .zip.")
        read_as("a shard", "a .tar or .zip")
        return tables(shard_rows(file, reader, counts))
    if is_triplets(source):
        read_as("the official layout", "it has folders color and sketch")
        return triplets(source, reader, counts)
    if (dump := find_dump(source)) is not None:
        return danbooru(dump, reader, counts)
    return tree(source, reader, counts)


def _first_refusal(refused: pa.Table) -> str:
    if not len(refused):
        return ""
    row = refused.slice(0, 1).to_pylist()[0]
    return f"{row['uri']}: {json.loads(row['detail'])['refused']}".rstrip(".")


def _check_any(source: str, selection: Selection, taken: int, grouped: int, left: Counter[str]) -> None:
    found = Left.of(left)
    if not taken and found.not_selected:
        why = ", ".join(f"{word} {count:,}" for word, count in Counter(found.not_selected).most_common())
        raise DataError(f"{source}: not one picture is selected ({why}).")
    if not taken:
        there = ", ".join(f"{kind} {count:,}" for kind, count in found.not_taken.items())
        raise DataError(
            f"{source}: no pictures here{f', but {there}' if there else ''} (looked for {NAMES}; tar and zip "
            "shards; index.jsonl or assembled.json; color/ with sketch/; original/ or 512px/ with metadata/)."
        )
    if selection.group_by not in ("auto", "none") and not grouped:
        raise DataError(f"{source}: not one picture has a group by {selection.group_by!r}. Change select.group_by.")
