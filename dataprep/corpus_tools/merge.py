"""Makes one corpus of several: rows of all, duplicates across them recorded as rejects, nothing computed again.

The plan's own rules decide which of two equal pictures stays, over the rows of all parts sorted by id; whether a file
was lossless, and how large it was before it was put on a canvas, is read from the scan caches. A shard that
keeps all its rows is copied as it is, checked against its hash; one that loses some is filtered row by row; one that
loses all is left behind.
Where recipe and splits agree the result has the digest of one build from all sources, with one exception that no merge
can mend: a near-duplicate that its own part dropped stays dropped, even if the picture it resembled is dropped now.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprep.corpus.column_files import (
    ColumnFile,
    ColumnWriter,
    column_path,
    describe,
    parse_table,
    read_rows,
    read_vouched,
)
from dataprep.corpus.digest import metadata_hash, metadata_variant
from dataprep.corpus.schema import INDEX_SCHEMA, REJECT_SCHEMA, SCAN_SCHEMA
from dataprep.corpus.shard_files import ShardFiles, shards
from dataprep.corpus.snapshot import Contents, Snapshot
from dataprep.errors import DataError
from dataprep.plan.row_plan import duplicates, shard_name
from dataprep.storage import store as storage

Task = dict[str, Any]  # JSON-able
READERS = 16  # row files that are read at once
SCAN_FILES = 64  # scan caches of one task
_FACTS = ["id", "source", "width", "height", "pixel_hash", "phash", "assembly"]  # of a row file
_SCANNED = ("id", "width", "height", "lossless")  # of a scan cache
_WEIGHT = {"duplicate-pixels": 1, "near-duplicate": 2, "duplicate-file": 3}  # of the fates of one id; 0 is to be kept


@dataclass(frozen=True)
class MergePlan:
    """What is to be copied and filtered, and what the snapshot of the result says beside its files."""

    tasks: tuple[Task, ...]
    taken: int  # shards that stay as they are
    filtered: int  # shards that lose rows
    left_behind: int  # shards that lose all their rows
    duplicates: Mapping[str, int]  # reason -> rows that another part has too
    index: pa.Table
    rejects: pa.Table
    operators: Mapping[str, Mapping[str, Any]]
    sources: tuple[str, ...]
    recipe: Mapping[str, Any]
    merged: tuple[Mapping[str, Any], ...]  # the parts, as `merged_parts` describes them

    def contents(self, files: Sequence[ColumnFile]) -> Contents:
        """What to commit once all tasks have given their files."""
        return Contents(
            files=files,
            index=self.index,
            rejects=self.rejects,
            operators=self.operators,
            sources=self.sources,
            recipe=self.recipe,
            listed={"merged": list(self.merged)},
        )


def plan_merge(parts: Sequence[Snapshot], out: str, shared: bool = False) -> MergePlan:
    """Plan the corpus at `out`; with `shared` it has only the columns on whose operators all parts agree.

    Raises DataError where the parts' operators differ, a part is damaged, or `out` holds another corpus.
    """
    operators = agreed(parts, shared)
    files = [list(shards(part)) for part in parts]
    rows = pa.concat_tables([_rows(number, part, files[number]) for number, part in enumerate(parts)])
    rows = rows.sort_by([("id", "ascending"), ("part", "ascending")])
    recipes = [part.document["recipe"] for part in parts]
    kept_row, reason = duplicates(rows, max(_distance(part) for part in parts))
    # Rows that stay, where their files go, and what is copied whole or filtered.
    keep = reason == ""
    index, moves = _placed(rows.filter(pa.array(keep)), files)
    there = {entry.uri: entry.size for entry in storage.list_files(storage.join(out, "data"))}
    tasks = [
        _task(part, shard, name, positions, operators, out, there)
        for number, part in enumerate(parts)
        for shard in files[number]
        for name, positions in [moves.get((number, shard.split, shard.shard), (None, None))]
        if name is not None
    ]
    filtered = sum(task["keep"] is not None for task in tasks)
    # The others become rejects beside those of the parts.
    dropped = rows.filter(pa.array(~keep))
    doubles = pa.table(
        [dropped["id"], dropped["source"], pa.array(reason[~keep], pa.string()), rows["id"].take(kept_row[~keep])],
        schema=REJECT_SCHEMA,
    )
    rejects = _settled(pa.concat_tables([*(part.table("rejects") for part in parts), doubles]), index["id"])
    values, counts = np.unique(reason[~keep], return_counts=True)
    return MergePlan(
        tasks=(*tasks, *_scan_tasks(parts, out)),
        taken=len(tasks) - filtered,
        filtered=filtered,
        left_behind=sum(map(len, files)) - len(tasks),
        duplicates=dict(zip(values.tolist(), counts.tolist(), strict=True)),
        index=index,
        rejects=rejects,
        operators=operators,
        sources=tuple(dict.fromkeys(source for part in parts for source in part.document["sources"])),
        recipe=recipes[0] if all(recipe == recipes[0] for recipe in recipes) else recipes[0] | {"merged": recipes},
        merged=tuple(merged_parts(parts)),
    )


def _distance(part: Snapshot) -> int:
    """How many bits two near-duplicates of a part differ in. Raises DataError where its recipe does not say so."""
    distance: int | None = part.document["recipe"].get("filters", {}).get("phash_distance")
    if distance is None:
        raise DataError(f"{part.uri}: its recipe has no filters.phash_distance, by which near-duplicates are found.")
    return distance


def merged_parts(parts: Sequence[Snapshot]) -> list[Mapping[str, Any]]:
    """What a merge's snapshot records of its parts, under `listed.merged`: uri, snapshot, digest."""
    return [{"uri": part.uri, "snapshot": part.number, "digest": part.digest} for part in parts]


def merge_shard(task: Task) -> Task:
    """Copy or filter one shard; gives `files` (ColumnFile fields), `rows` and the `bytes` that were written.

    Raises DataError where a file of a part is missing or damaged.
    """
    written = sum(_copied(**move) for move in task["copy"])
    if task["keep"] is None:
        return {"files": task["files"], "rows": task["rows"], "bytes": written}
    files = [asdict(_filtered(task, ColumnFile(**fields))) for fields in task["files"]]
    return {"files": files, "rows": task["rows"], "bytes": sum(file["bytes"] for file in files)}


def _copied(source: str, target: str, size: int, sha256: str | None, held: bool) -> int:
    """Copy a file unless it is there already (`held`: one of its size is); gives the bytes that were written."""
    if sha256 is not None:
        if held and hashlib.sha256(storage.read_bytes(target)).hexdigest() == sha256:
            return 0
        data = read_vouched(source, sha256)
        if not (storage.is_s3(source) and storage.is_s3(target)):
            storage.write_whole(target, data)
            return size
    storage.copy_file(source, target)
    return size


def agreed(parts: Sequence[Snapshot], shared: bool) -> dict[str, Mapping[str, Any]]:
    """Column -> operator. The `row` column must always agree: it holds the split and the hashes.

    Raises DataError where the parts differ in a column, or with `shared` in `row`.
    """
    described = [part.document["operators"] for part in parts]
    every = sorted({column for operators in described for column in operators})
    marks = {c: [operators.get(c, {}).get("fingerprint", "none") for operators in described] for c in every}
    differing = [column for column in every if len(set(marks[column])) > 1]
    if "row" in differing or (differing and not shared):
        columns = [f"{column} ({', '.join(marks[column])})" for column in differing]
        uris = ", ".join(part.uri for part in parts)
        what = "The rows were made with other settings (filters, split): build one of them again."
        way = what if "row" in differing else "Build one of them again, or take what agrees with --columns shared."
        raise DataError(f"{uris}: their operators differ in {', '.join(columns)}. {way}")
    return {column: described[0][column] for column in every if column not in differing}


def _rows(number: int, part: Snapshot, files: Sequence[ShardFiles]) -> pa.Table:
    """The index of a part with what its row files say: part, source, pixel_hash, phash and assembly ("" for any)."""
    with ThreadPoolExecutor(READERS) as pool:
        tables = list(pool.map(lambda shard: _facts(part.uri, shard.files["row"]), files))
    facts = pa.concat_tables(tables).sort_by("id")
    index = part.table("index")
    if not facts["id"].equals(index["id"]):
        raise DataError(f"{part.uri}: its row files do not hold the rows of its index. Run: irodori corpus verify")
    columns = {name: index[name] for name in INDEX_SCHEMA.names} | {name: facts[name] for name in _FACTS[1:]}
    columns["part"] = pa.array(np.full(len(index), number, np.int32))
    # As the source had it, where the scan cache is still there.
    scanned = _scanned(part.uri)
    where = pc.index_in(index["id"], scanned["id"])
    for name in ("width", "height"):
        columns[name] = pc.coalesce(scanned[name].take(where), columns[name])
    columns["lossless"] = scanned["lossless"].take(where)
    return pa.table(columns)


def _scanned(uri: str) -> pa.Table:
    """What the scan caches of a corpus know of the files behind its rows; those of other versions know less."""
    schema = pa.schema([SCAN_SCHEMA.field(name) for name in _SCANNED])

    def part(entry: storage.FileEntry) -> pa.Table:
        try:
            table = parse_table(storage.read_bytes(entry.uri), entry.uri, SCAN_SCHEMA, _SCANNED)
        except DataError:
            return schema.empty_table()  # a cache: of another version, or damaged
        return table.filter(pc.is_valid(table["width"]))

    with ThreadPoolExecutor(READERS) as pool:
        tables = list(pool.map(part, storage.list_files(storage.join(uri, "scan"))))
    return pa.concat_tables([schema.empty_table(), *tables])


def _facts(uri: str, file: ColumnFile) -> pa.Table:
    address = storage.join(uri, file.path)
    filesystem, path = storage.arrow_filesystem(address)
    with storage.explained(address), pq.ParquetFile(path, filesystem=filesystem) as parquet:
        table = parquet.read(columns=_FACTS).select(_FACTS)
    assembled = pc.if_else(pc.is_valid(table["assembly"]), "", pa.scalar(None, pa.string()))
    return table.set_column(_FACTS.index("assembly"), "assembly", assembled)


# ---- where the rows go --------------------------------------------------------------------------------------------

_Moves = dict[tuple[int, str, str], tuple[str, list[int] | None]]  # shard -> new name, positions kept (None for all)


def _placed(rows: pa.Table, files: Sequence[Sequence[ShardFiles]]) -> tuple[pa.Table, _Moves]:
    """The index of the kept rows, sorted by id, and what becomes of each shard that keeps any."""
    numbers = {
        (part, shard.split, shard.shard): number
        for number, (part, shard) in enumerate((part, shard) for part, some in enumerate(files) for shard in some)
    }
    sizes = [shard.files["row"].rows for some in files for shard in some]
    keys = list(numbers)
    shard_of = _numbered(rows, numbers)
    positions = rows["position"].to_numpy()
    order = np.lexsort([positions, shard_of])  # by shard, then by position
    starts = np.searchsorted(shard_of[order], np.arange(len(keys) + 1))
    names = np.array([key[2] for key in keys], object)
    placed = positions.copy()
    moves: _Moves = {}
    for number in np.flatnonzero(np.diff(starts)).tolist():
        here = order[starts[number] : starts[number + 1]]
        if len(here) == sizes[number]:
            moves[keys[number]] = keys[number][2], None
            continue
        held = rows.select(["id", "sketch_id"]).take(pa.array(here))
        names[number] = shard_name(list(zip(held["id"].to_pylist(), held["sketch_id"].to_pylist(), strict=True)))
        placed[here] = np.arange(len(here))
        moves[keys[number]] = names[number], positions[here].tolist()
    columns = {name: rows[name] for name in INDEX_SCHEMA.names}
    columns["shard"] = pa.array(names, pa.string()).take(pa.array(shard_of))
    columns["position"] = pa.array(placed)
    return pa.table([columns[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA), moves


def _numbered(rows: pa.Table, numbers: Mapping[tuple[int, str, str], int]) -> npt.NDArray[np.intp]:
    """The number of each row's shard; shards are few, so their names are looked up once for each batch."""
    found = [np.zeros(0, np.intp)]
    for batch in filter(len, rows.select(["part", "split", "shard"]).to_batches()):
        parts, splits, names = (column.dictionary_encode() for column in batch.columns)
        words = [column.dictionary.to_pylist() for column in (parts, splits, names)]
        shape = tuple(map(len, words))
        codes = [column.indices.to_numpy() for column in (parts, splits, names)]
        distinct, inverse = np.unique(np.ravel_multi_index(codes, shape), return_inverse=True)
        here = [
            numbers[words[0][p], words[1][s], words[2][n]]
            for p, s, n in np.transpose(np.unravel_index(distinct, shape))
        ]
        found.append(np.array(here, np.intp)[inverse])
    return np.concatenate(found)


def _task(
    part: Snapshot,
    shard: ShardFiles,
    name: str,
    positions: list[int] | None,
    operators: Iterable[str],
    out: str,
    there: Mapping[str, int],
) -> Task:
    files = [shard.files[column] for column in operators]
    moves = [
        {
            "source": storage.join(part.uri, file.path),
            "target": target,
            "size": file.bytes,
            "sha256": file.sha256,
            "held": there.get(target) == file.bytes,
        }
        for file in files
        for target in [storage.join(out, file.path)]
    ]
    return {
        "uri": part.uri,
        "out": out,
        "shard": name,
        "files": [asdict(file) for file in files],
        "copy": moves if positions is None else [],
        "keep": positions,
        "rows": shard.files["row"].rows if positions is None else len(positions),
    }


def _scan_tasks(parts: Sequence[Snapshot], out: str) -> list[Task]:
    """Scan caches go along, so that a build that goes on from the result reads no picture again."""
    there = {entry.uri: entry.size for entry in storage.list_files(storage.join(out, "scan"))}
    copies: dict[str, Task] = {}
    for part in parts:
        folder = storage.join(part.uri, "scan")
        for entry in storage.list_files(folder):
            path = entry.uri.removeprefix(f"{folder}/")
            if ".." in path.split("/"):  # a key of S3 may hold what leads out of a folder
                raise DataError(f"{entry.uri}: this name leads out of a corpus. Do not use it.")
            target = storage.join(out, "scan", path)
            if there.get(target) != entry.size:
                move = {"source": entry.uri, "target": target, "size": entry.size}
                copies[target] = move | {"sha256": None, "held": False}  # a cache, which no snapshot describes
    some = list(copies.values())
    groups = [some[start : start + SCAN_FILES] for start in range(0, len(some), SCAN_FILES)]
    return [{"files": [], "copy": group, "keep": None, "rows": 0} for group in groups]


def _filtered(task: Task, file: ColumnFile) -> ColumnFile:
    """The kept rows of a file, written under the new shard's name."""
    keep = set(task["keep"])
    writer, hashes = ColumnWriter(file.column), []
    source = storage.join(task["uri"], file.path)
    for position, row in enumerate(read_rows(read_vouched(source, file.sha256), file.column, source)):
        if position in keep:
            writer.add_row(row)
            hashes += [metadata_hash(row)] if file.column == "row" else []
    data = writer.finish()
    variant = metadata_variant(hashes) if file.column == "row" else ""
    path = column_path(file.split, task["shard"], file.column, file.fingerprint, variant)
    storage.write_whole(storage.join(task["out"], path), data)
    return describe(path, file.split, task["shard"], file.column, file.fingerprint, data)


# ---- rejects ------------------------------------------------------------------------------------------------------


def _settled(rejects: pa.Table, kept_ids: pa.ChunkedArray) -> pa.Table:
    """The rejects as one build would record them: of the entries of one id at most one is kept or has a reason of its
    own (equal pixels before nearly equal), all others are the same file again.
    """
    kind = pc.index_in(rejects["reason"], pa.array(list(_WEIGHT)))
    doubled = np.flatnonzero(np.asarray(pc.is_valid(kind)))
    ids = rejects["id"].take(doubled)
    kept = kept_ids.filter(pc.is_in(kept_ids, ids.combine_chunks()))
    weights = np.concatenate([np.zeros(len(kept), int), kind.take(doubled).to_numpy() + 1])
    where = np.concatenate([np.full(len(kept), -1), doubled])
    fates = pa.table({"id": pa.chunked_array([*kept.chunks, *ids.chunks], pa.string())})
    fates = fates.append_column("weight", pa.array(weights)).append_column("where", pa.array(where))
    fates = fates.sort_by([("id", "ascending"), ("weight", "ascending"), ("where", "ascending")])
    again = np.zeros(len(fates), bool)
    if len(fates):
        again[1:] = np.asarray(pc.equal(fates["id"].slice(1), fates["id"].slice(0, len(fates) - 1)))
    flags = np.zeros(len(rejects), bool)
    flags[fates["where"].to_numpy()[again]] = True
    columns = {name: rejects[name] for name in REJECT_SCHEMA.names}
    columns["reason"] = pc.if_else(pa.array(flags), "duplicate-file", rejects["reason"])
    columns["message"] = pc.if_else(pa.array(flags), rejects["id"], rejects["message"])
    settled = pa.table([columns[name] for name in REJECT_SCHEMA.names], schema=REJECT_SCHEMA)
    return settled.sort_by([(name, "ascending") for name in ("id", "reason", "source")])
