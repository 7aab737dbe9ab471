"""Takes a snapshot out of the corpus in a layout that other tools read, shard by shard, each written whole.

The work on one shard reads its columns side by side, 16 rows at a time, writes its files and, as its last act, a note
under `.export/` that counts them: a note that exists is a shard that is done. `.export/export.json` says what is
exported, so that the same command goes on where it stopped and any other is refused.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.corpus.column_files import ROW_GROUP_ROWS
from dataprep.corpus.shard_files import check_id, shards
from dataprep.corpus.snapshot import Snapshot
from dataprep.corpus_tools.export_layouts import (
    AESTHETIC,
    COLOR,
    LAYOUTS,
    MASK,
    SKETCH,
    ExportRow,
    Place,
    card,
    metadata_schema,
)
from dataprep.corpus_tools.export_settings import ExportSettings
from dataprep.documents import read_document
from dataprep.errors import DataError
from dataprep.operators.outputs import JSON
from dataprep.storage import store as storage


class _Note(TypedDict):
    """The counts of a shard that is done, and its lines of the index."""

    rows: int
    left_out: dict[str, int]
    without: dict[str, int]
    failed: dict[str, int]
    files: int
    bytes: int
    entries: list[dict[str, Any]]


Task = dict[str, Any]  # JSON-able
_MOST_NOTE_BYTES = 1 << 30
FORMAT = 2  # of the layouts; raise when names of files or what stands in them change
NOTES = ".export"
_STATEMENT = f"{NOTES}/export.json"


def start_export(snapshot: Snapshot, out: str, settings: ExportSettings) -> list[Task]:
    """The work on each shard, after saying at `out` what is exported there.

    Raises DataError where the snapshot lacks a column or split, or `out` holds something else.
    """
    columns = _columns(snapshot, settings)
    rows = snapshot.document["rows"]
    splits = sorted(rows) if settings.split is None else [settings.split]
    if unknown := set(splits) - rows.keys():
        raise DataError(f"{snapshot.uri}: there is no split {unknown.pop()!r}; there are {', '.join(sorted(rows))}.")
    # Equal digests may have other shards, and shards are what is numbered: so the table of files counts too.
    files = snapshot.document["tables"]["files"]["sha256"]
    _state(out, {"format": FORMAT, "digest": snapshot.digest, "files": files, **asdict(settings), "columns": columns})
    operators = snapshot.document["operators"]
    texts = [column for column in columns if operators[column].get("gives") == JSON]
    tasks: list[Task] = []
    left = settings.limit if settings.limit is not None else sum(rows.values())
    for split in splits:
        for number, shard in enumerate(shards(snapshot, split)):
            if left <= 0:
                return tasks
            take = min(left, shard.files["row"].rows)
            left -= take
            paths = {column: storage.join(snapshot.uri, shard.files[column].path) for column in ("row", *columns)}
            place = asdict(Place(split, shard.shard, number, columns, texts))
            tasks.append({"out": out, "layout": settings.layout, "place": place, "rows": take, "paths": paths})
    return tasks


def export_shard(task: Task) -> Task:
    """Export one shard; gives its counts: rows, files, bytes, left_out, without, failed; `reused` if it was done.

    Raises DataError where a file of the corpus is missing or damaged.
    """
    note = _note(task)
    if storage.exists(note):
        return _counts(_read_note(note)) | {"reused": True}
    place, layout = Place(**task["place"]), LAYOUTS[task["layout"]]
    passed = _Passed(layout.needs(place.columns))
    files = written = 0
    entries: list[dict[str, Any]] = []

    def kept() -> Iterator[ExportRow]:
        for row in _read(task):
            if passed.takes(row):
                entries.extend([layout.entry(row, place)] if layout.entry else [])
                yield row

    for path, data in layout.files(kept(), place):
        storage.write_whole(storage.join(task["out"], path), data)
        files, written = files + 1, written + len(data)
    counts = passed.counts() | {"files": files, "bytes": written, "entries": entries}
    storage.write_whole(note, json.dumps(counts).encode())
    return _counts(counts) | {"reused": False}


def finish_export(out: str, tasks: Sequence[Task], settings: ExportSettings) -> None:
    """Write what spans the shards: index.jsonl of the folders and metadata.parquet of each of their splits,
    image_list.json of each official split, and the card of the tars, for Hugging Face.
    """
    splits = sorted({task["place"]["split"] for task in tasks})
    with tempfile.TemporaryDirectory() as folder:
        if settings.layout == "folders":
            with Path(folder, "index.jsonl").open("w", encoding="utf-8") as index:
                index.writelines(json.dumps(entry["index"]) + "\n" for task in tasks for entry in _entries(task))
        for split in splits:
            of_split = [task for task in tasks if task["place"]["split"] == split]
            if settings.layout == "folders":
                _write_metadata(Path(folder, split), of_split)
            if settings.layout == "official":
                _write_image_list(Path(folder, split), of_split)
        if settings.layout == "webdataset" and tasks:
            Path(folder, "README.md").write_text(card(Place(**tasks[0]["place"]), splits))
        storage.upload_directory(Path(folder), out)


def _write_metadata(folder: Path, tasks: Sequence[Task]) -> None:
    """metadata.parquet of a split: its types hold also where no row has a value."""
    folder.mkdir()
    schema = metadata_schema(Place(**tasks[0]["place"]))
    with pq.ParquetWriter(folder / "metadata.parquet", schema, compression="zstd") as writer:
        for task in tasks:
            writer.write_table(pa.Table.from_pylist([entry["metadata"] for entry in _entries(task)], schema))


def _write_image_list(folder: Path, tasks: Sequence[Task]) -> None:
    """{member: facts}, written as it comes: it may have millions of entries."""
    folder.mkdir()
    with (folder / "image_list.json").open("w", encoding="utf-8") as index:
        between = "{\n"
        for entry in (entry for task in tasks for entry in _entries(task)):
            index.write(f"{between}{json.dumps(entry.pop('name'))}: {json.dumps(entry)}")
            between = ",\n"
        index.write("{}\n" if between == "{\n" else "\n}\n")


def _columns(snapshot: Snapshot, settings: ExportSettings) -> list[str]:
    known = sorted(snapshot.document["operators"].keys() - {"row"})
    wanted = list(settings.columns) or known
    if settings.layout == "official":
        wanted = [COLOR, SKETCH + (settings.style or "xdog"), MASK, *({AESTHETIC} & set(known))]
    if unknown := [column for column in wanted if column not in known]:
        raise DataError(f"{snapshot.uri}: there is no column {', '.join(unknown)}; there are {', '.join(known)}.")
    return wanted


def _state(out: str, statement: Mapping[str, Any]) -> None:
    """Record at `out` what is exported there, or find the same recorded."""
    uri = storage.join(out, _STATEMENT)
    text = json.dumps(statement, indent=2).encode()
    if not storage.exists(uri) and storage.list_files(out):
        raise DataError(f"{out}: there are files here that are no export. Choose an empty place.")
    if storage.create_exclusive(uri, text):
        return
    there = read_document(uri, dict[str, Any])
    wanted = json.loads(text)
    differing = [name for name in wanted if there.get(name) != wanted[name]]
    if differing:
        differences = "; ".join(f"{name} {there.get(name)!r}, not {wanted[name]!r}" for name in differing)
        raise DataError(f"{out}: another export lies here: {differences}. Choose another place.")


def _read(task: Task) -> Iterator[ExportRow]:
    """The first rows of the shard with all columns side by side."""
    columns = list(task["place"]["columns"])
    streams = [_stream(task["paths"][column]) for column in ("row", *columns)]
    for _, (known, *cells) in zip(range(task["rows"]), zip(*streams, strict=True), strict=False):
        if any(cell["id"] != known["id"] for cell in cells):
            raise DataError(f"{task['paths']['row']}: its rows are not those of the columns beside it. Run verify.")
        check_id(known["id"], task["paths"]["row"])
        values = {column: cell[column] for column, cell in zip(columns, cells, strict=True)}
        errors = {column: cell["error"] for column, cell in zip(columns, cells, strict=True) if cell["error"]}
        yield ExportRow(known, values, errors)


def _stream(uri: str) -> Iterator[dict[str, Any]]:
    filesystem, path = storage.arrow_filesystem(uri)
    with storage.explained(uri), pq.ParquetFile(path, filesystem=filesystem) as file:
        for batch in file.iter_batches(ROW_GROUP_ROWS):
            yield from batch.to_pylist()


class _Passed:
    """Counts rows as they pass: taken, left out for a value that the layout needs, values that are not there."""

    def __init__(self, needs: Sequence[str]) -> None:
        self._needs = needs
        self._rows = 0
        self._left_out: Counter[str] = Counter()  # the column that was missing -> rows
        self._without: Counter[str] = Counter()  # column -> rows taken that have none
        self._failed: Counter[str] = Counter()  # column -> rows taken whose value could not be computed

    def takes(self, row: ExportRow) -> bool:
        if missing := next((column for column in self._needs if row.cells[column] is None), None):
            self._left_out[missing] += 1
            return False
        self._rows += 1
        self._failed.update(row.errors.keys())
        self._without.update(name for name, value in row.cells.items() if value is None and name not in row.errors)
        return True

    def counts(self) -> dict[str, Any]:
        return {"rows": self._rows, "left_out": self._left_out, "without": self._without, "failed": self._failed}


def _note(task: Task) -> str:
    return storage.join(task["out"], NOTES, task["place"]["split"], f"{task['place']['shard']}.json")


def _entries(task: Task) -> list[dict[str, Any]]:
    return _read_note(_note(task))["entries"]


def _read_note(uri: str) -> "_Note":
    """What is written of a shard that is done, as large as its entries are. Raises DataError for anything else."""
    return read_document(uri, _Note, _MOST_NOTE_BYTES)


def _counts(note: Mapping[str, Any]) -> Task:
    return {name: value for name, value in note.items() if name != "entries"}
