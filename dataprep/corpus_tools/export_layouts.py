"""What an export looks like: the rows of one shard as the files that other tools read. Pure functions of the rows.

- wide: a Parquet file with all columns joined; row groups of 16 rows and a page index, pictures as plain binary.
- webdataset: a tar of `<id>.color.jpg`, `<id>.sketch_xdog.png`, ..., `<id>.json`, the files of a row together. A column
  has one suffix, whatever its bytes are: readers group members by it, and look at the bytes to decode them.
- folders: `<split>/color/ sketch/<style>/ mask/ region_map/`, one folder for each shard in them, a line of the
  index.jsonl that our own folder source reads, and one of `<split>/metadata.parquet`, which Hugging Face's reads.
- official: `color/0001.zip`, `sketch/0001.zip`, `mask/0001.zip` with members `0001/<id>.<suffix>`, equally named in all
  three, as the data loader of the released ColorizeDiffusion wants them, and entries of its image list.

Equal rows give equal bytes: archives carry no times, owners or extras.
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.corpus.column_files import ROW_GROUP_ROWS, writer_options
from dataprep.corpus.schema import ROW_SCHEMA
from dataprep.documents import parse_document

COLOR, SKETCH, MASK = "color", "sketch_", "mask"
DRAWN = "sketch_drawn"
AESTHETIC = "aesthetic"
UNMEASURED_AESTHETIC = 6.0  # what the released loaders take for pictures that nobody scored
_SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp", b"BM": "bmp", b"GIF8": "gif"}
_JSON_STARTS = {bytes((start,)) for start in b'{["-0123456789tfn'}
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say

File = tuple[str, bytes]  # path below the export, content


@dataclass(frozen=True)
class ExportRow:
    """One row: the fields of its `row` column, the values of the columns asked for, and why a value is missing."""

    known: Mapping[str, Any]
    cells: Mapping[str, bytes | None]
    errors: Mapping[str, str]

    @property
    def id(self) -> str:
        return str(self.known["id"])


@dataclass(frozen=True)
class Place:
    """Which shard is exported: `number` counts the shards of its split from 0."""

    split: str
    shard: str
    number: int
    columns: Sequence[str]
    texts: Sequence[str] = ()  # those of the columns whose values are JSON

    @property
    def sketch(self) -> str:
        """The one sketch column of the official layout."""
        return next(column for column in self.columns if column.startswith(SKETCH))


@dataclass(frozen=True)
class Layout:
    """`needs`: columns without which a row is left out, given those of the export; `entry`: its line in the index."""

    files: Callable[[Iterable[ExportRow], Place], Iterator[File]]
    needs: Callable[[Sequence[str]], Sequence[str]]
    entry: Callable[[ExportRow, Place], dict[str, Any]] | None = None


def suffix_of(value: bytes) -> str:
    """The usual suffix by the first bytes: of an encoded picture, else of JSON, else "bin"."""
    known = next((suffix for start, suffix in _SIGNATURES.items() if value.startswith(start)), None)
    return known or ("json" if value[:1] in _JSON_STARTS else "bin")


# ---- wide ---------------------------------------------------------------------------------------------------------


def wide_schema(columns: Sequence[str]) -> pa.Schema:
    """The fields of a row, each column's value, and `errors`: JSON of column -> why it has none."""
    return pa.schema([*ROW_SCHEMA, *(pa.field(name, pa.binary()) for name in columns), pa.field("errors", pa.string())])


def _wide(rows: Iterable[ExportRow], place: Place) -> Iterator[File]:
    schema = wide_schema(place.columns)
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, **writer_options(schema, place.columns)) as writer:
        for some in _groups(rows, ROW_GROUP_ROWS):
            records = [{**row.known, **row.cells, "errors": _json(row.errors) if row.errors else None} for row in some]
            writer.write_table(pa.Table.from_pylist(records, schema), row_group_size=ROW_GROUP_ROWS)
    yield f"{place.split}/{place.shard}.parquet", sink.getvalue()


def _groups(rows: Iterable[ExportRow], size: int) -> Iterator[list[ExportRow]]:
    group: list[ExportRow] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


# ---- webdataset ---------------------------------------------------------------------------------------------------


def _webdataset(rows: Iterable[ExportRow], place: Place) -> Iterator[File]:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for row in rows:
            for column, value in row.cells.items():
                if value is not None:
                    _add_to_tar(tar, f"{row.id}.{member_suffix(column, place.texts)}", value)
            facts = {**_plain_facts(row), "errors": dict(row.errors)}
            _add_to_tar(tar, f"{row.id}.json", _json(facts).encode())
    yield f"{place.split}/{place.split}-{place.number:06d}.tar", sink.getvalue()


def member_suffix(column: str, texts: Sequence[str]) -> str:
    """What the member of a column is called behind the id of its row: the same in every row.

    Pictures of `color` are the source's bytes, JPEG most often; other columns are PNG. JSON is text, which readers do
    not take apart: the names in it differ from row to row.
    """
    return f"{column}.{'txt' if column in texts else 'jpg' if column == COLOR else 'png'}"


def _plain_facts(row: ExportRow) -> dict[str, Any]:
    """What is known of a row as JSON that every reader can hold: the 64 bits of a perceptual hash are 16 hex digits."""
    return {**row.known, "phash": f"{row.known['phash']:016x}"}


def _add_to_tar(tar: tarfile.TarFile, name: str, value: bytes) -> None:
    entry = tarfile.TarInfo(name)  # time 0, no owner
    entry.size = len(value)
    tar.addfile(entry, io.BytesIO(value))


# ---- folders ------------------------------------------------------------------------------------------------------


def _folders(rows: Iterable[ExportRow], place: Place) -> Iterator[File]:
    for row in rows:
        for column, path in _paths(row, place).items():
            value = row.cells[column]
            assert value is not None
            yield path, value


def _paths(row: ExportRow, place: Place) -> dict[str, str]:
    """Column -> where its value goes, of the columns that have one."""
    return {
        column: f"{place.split}/{_folder(column)}/{place.shard}/{row.id}.{suffix_of(value)}"
        for column, value in row.cells.items()
        if value is not None
    }


def _folder(column: str) -> str:
    return f"sketch/{column.removeprefix(SKETCH)}" if column.startswith(SKETCH) else column


def _folders_entry(row: ExportRow, place: Place) -> dict[str, Any]:
    """A line that the folder source understands; of the sketches it takes the drawn one, others are ours to make."""
    paths = _paths(row, place)
    metadata = {name: row.known[name] for name in ("group", "tags", "rating", "score", "caption")}
    metadata |= {"sketch": paths.get(DRAWN), "mask": paths.get(MASK)}
    index = {"path": paths[COLOR], **{name: value for name, value in metadata.items() if value is not None}}
    return {"index": index, "metadata": _metadata(row, place, paths)}


def _metadata(row: ExportRow, place: Place, paths: Mapping[str, str]) -> dict[str, Any]:
    """A row of `<split>/metadata.parquet` (`metadata_schema`), with addresses from there."""
    addresses = {column: path.removeprefix(f"{place.split}/") for column, path in paths.items()}
    values = {
        _metadata_name(column, place.texts): (row.cells[column] or b"").decode("utf-8", "replace") or None
        if column in place.texts
        else addresses.get(column)
        for column in place.columns
    }
    return {**values, **_plain_facts(row), "errors": _json(row.errors) if row.errors else None}


def metadata_schema(place: Place) -> pa.Schema:
    """The columns of `<split>/metadata.parquet`: addresses by the names that Hugging Face's imagefolder knows, JSON
    values as text, and the fields of a row.
    """
    columns = [pa.field(_metadata_name(column, place.texts), pa.string()) for column in place.columns]
    return pa.schema([*columns, *(_text_hash(field) for field in ROW_SCHEMA), pa.field("errors", pa.string())])


def _metadata_name(column: str, texts: Sequence[str]) -> str:
    return column if column in texts else "file_name" if column == COLOR else f"{column}_file_name"


def _text_hash(field: pa.Field) -> pa.Field:
    return pa.field("phash", pa.string()) if field.name == "phash" else field


# ---- official -----------------------------------------------------------------------------------------------------


def _official(rows: Iterable[ExportRow], place: Place) -> Iterator[File]:
    sinks = {folder: io.BytesIO() for folder in ("color", "sketch", "mask")}
    zips = {folder: zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) for folder, sink in sinks.items()}
    for row in rows:
        for folder, column in zip(zips, (COLOR, place.sketch, MASK), strict=True):
            value = row.cells[column]
            if value is not None:
                zips[folder].writestr(zipfile.ZipInfo(_member(row, place), _ZIP_EPOCH), value)
    for folder, archive in zips.items():
        archive.close()
        yield f"{place.split}/{folder}/{_zip_name(place)}.zip", sinks[folder].getvalue()


def _zip_name(place: Place) -> str:
    return f"{place.number + 1:04d}"


def _member(row: ExportRow, place: Place) -> str:
    """One name for colour, sketch and mask, with the colour's suffix: the loader replaces the folder only."""
    color = row.cells[COLOR]
    assert color is not None
    return f"{_zip_name(place)}/{row.id}.{suffix_of(color)}"


def _official_entry(row: ExportRow, place: Place) -> dict[str, Any]:
    """What the released loaders ask of a picture: score, shorter side, sketch; size and tags for the newer one."""
    width, height = row.known["width"], row.known["height"]
    score = row.cells.get(AESTHETIC)
    return {
        "name": _member(row, place),
        "aesthetic_score": _score(score, row.id) if score else UNMEASURED_AESTHETIC,
        "resolution": min(width, height),
        "exist_sketch": True,
        "width": width,
        "height": height,
        "tags": ", ".join(row.known["tags"]),
    }


# ---- the card -----------------------------------------------------------------------------------------------------


def card(place: Place, splits: Sequence[str]) -> str:
    """README.md beside tars, whose head tells Hugging Face `datasets` the splits and the type of every field.

    Without it types are guessed from the first rows, where a column may have no value.
    """
    members = [(member_suffix(column, place.texts), column in place.texts) for column in place.columns]
    errors = {"name": "errors", "struct": [{"name": column, "dtype": "string"} for column in place.columns]}
    features: list[dict[str, Any]] = [{"name": name, "dtype": "string"} for name in ("__key__", "__url__")]
    features += [{"name": name, "dtype": "string" if is_text else "image"} for name, is_text in members]
    features += [{"name": "json", "struct": [*(_feature(_text_hash(field)) for field in ROW_SCHEMA), errors]}]
    files = [{"split": split, "path": f"{split}/*.tar"} for split in splits]
    head = {
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"config_name": "default", "features": features},
    }
    lines = [f"{name}: {json.dumps(value)}" for name, value in head.items()]  # JSON is YAML too
    return "\n".join(["---", *lines, "---", "", _CARD])


_CARD = """A snapshot of a corpus, exported by `irodori corpus export`.

`datasets.load_dataset("ADDRESS OF THIS FOLDER")` reads it, splits and types as the head of this file says.
"""


def _feature(field: pa.Field) -> dict[str, Any]:
    """A field of a row as the card types it."""
    if pa.types.is_list(field.type):
        return {"name": field.name, "list": "string"}
    return {"name": field.name, "dtype": "float32" if pa.types.is_float32(field.type) else str(field.type)}


def _score(value: bytes, row_id: str) -> float:
    """Raises DataError for a cell of `aesthetic` that is no number."""
    return parse_document(value, float, f"{AESTHETIC} of {row_id}")


LAYOUTS = {
    "wide": Layout(_wide, lambda _: ()),
    "webdataset": Layout(_webdataset, lambda _: ()),
    "folders": Layout(_folders, lambda _: (COLOR,), _folders_entry),
    "official": Layout(
        _official, lambda columns: [name for name in columns if name not in (MASK, AESTHETIC)], _official_entry
    ),
}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
