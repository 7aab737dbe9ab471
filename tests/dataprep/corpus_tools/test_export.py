"""An export holds what the snapshot holds, in files that other programs read; it goes on where it stopped."""

import io
import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from dataprep.corpus.column_files import ColumnWriter, column_path, describe, read_rows
from dataprep.corpus.schema import ROW_SCHEMA
from dataprep.corpus.shard_files import shards
from dataprep.corpus.snapshot import Contents, commit
from dataprep.corpus_tools.export import export_shard, start_export
from dataprep.corpus_tools.export_layouts import LAYOUTS, ExportRow, Place
from dataprep.corpus_tools.export_settings import LAYOUT_NAMES, ExportSettings
from dataprep.corpus_tools.info import open_snapshot
from dataprep.errors import DataError
from dataprep.pictures.decode import decode, decode_png, encode_png
from dataprep.pictures.identity import pixel_hash
from dataprep.storage import store as storage
from pipelines.corpus_build.build import run_build
from pipelines.corpus_tools.export import ExportReport, run_export
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, picture, write_pictures

ROWS = 10


def write_source(folder: Path) -> Path:
    """Ten pictures: one JPEG, two with alpha (so a mask), two with an artist's lines, all with tags and groups."""
    write_pictures(folder, ROWS - 3)
    (folder / "photo.jpg").write_bytes(cv2.imencode(".jpg", picture(50), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    for seed in (60, 61):
        alpha = np.full((48, 64), 255, np.uint8)
        alpha[:, :20] = 0
        Image.fromarray(np.dstack([picture(seed), alpha])).save(folder / f"alpha{seed}.png")
    names = sorted(path.name for path in folder.iterdir())
    (folder / "lines").mkdir()
    lines = []
    for number, name in enumerate(names):
        line = {"path": name, "group": f"g{number % 4}", "tags": [f"t{number}", "solo"], "score": 1.5}
        if number in (2, 3):
            (folder / "lines" / f"{number}.png").write_bytes(encode_png(picture(number)[..., 0]))
            line["sketch"] = f"lines/{number}.png"
        lines.append(json.dumps(line))
    (folder / "index.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Snapshot 1 is whole; in snapshot 2 the line art of one picture and the mask of another failed."""
    folder = tmp_path_factory.mktemp("export")
    out = str(folder / "out")
    run_build([str(write_source(folder / "source"))], out, SMALL, engine=in_process)
    snapshot = open_snapshot(out)
    files = [file for shard in shards(snapshot) for file in shard.files.values()]
    for column in ("sketch_xdog", "mask"):
        at = next(at for at, file in enumerate(files) if file.column == column and file.split == "train")
        files[at] = _with_a_failure(out, files[at])
    facts = snapshot.document
    tables = snapshot.table("index"), snapshot.table("rejects")
    commit(out, Contents(files, *tables, facts["operators"], facts["sources"], facts["recipe"]), snapshot)
    return out


def _with_a_failure(out: str, file: Any) -> Any:
    """The same file, but for its first cell, which failed; under another name."""
    data = storage.read_bytes(storage.join(out, file.path))
    writer = ColumnWriter(file.column)
    for number, row in enumerate(read_rows(data, file.column, file.path)):
        writer.add(row["id"], row[file.column] if number else None, row["error"] if number else "no luck")
    path = file.path.replace(".parquet", "-2.parquet")
    changed = writer.finish()
    storage.write_whole(storage.join(out, path), changed)
    return describe(path, file.split, file.shard, file.column, file.fingerprint, changed)


def export(corpus: str, out: Path | str, layout: str, number: int = 1, **settings: Any) -> ExportReport:
    return run_export(corpus, number, str(out), ExportSettings(layout, **settings), engine=in_process)


def rows_of(corpus: str, number: int = 1) -> dict[str, dict[str, Any]]:
    """id -> everything the snapshot knows of the row, read column by column."""
    rows: dict[str, dict[str, Any]] = {}
    for shard in shards(open_snapshot(corpus, number)):
        for column, file in shard.files.items():
            data = storage.read_bytes(storage.join(corpus, file.path))
            for row in read_rows(data, column, file.path):
                cells = row if column == "row" else {column: row[column], f"{column} error": row["error"]}
                rows.setdefault(row["id"], {}).update(cells)
    return rows


def files(out: Path) -> dict[str, bytes]:
    """What an export holds besides its own notes."""
    paths = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in paths.items() if not name.startswith(".export/")}


# ---- wide ---------------------------------------------------------------------------------------------------------


def test_wide_files_hold_every_cell_in_one_table(corpus: str, tmp_path: Path) -> None:
    report = export(corpus, tmp_path, "wide", number=2)
    table = ds.dataset([str(path) for path in tmp_path.rglob("*.parquet")]).to_table()
    expected = rows_of(corpus, 2)
    columns = ("color", "sketch_xdog", "sketch_drawn", "mask", "region_map")
    found = {row["id"]: row for row in table.to_pylist()}
    assert found.keys() == expected.keys()
    for row_id, row in found.items():
        assert {name: row[name] for name in columns} == {name: expected[row_id][name] for name in columns}
        assert (row["group"], row["tags"], row["phash"]) == tuple(
            expected[row_id][n] for n in ("group", "tags", "phash")
        )
        errors = {name: expected[row_id][f"{name} error"] for name in columns if expected[row_id][f"{name} error"]}
        assert json.loads(row["errors"] or "{}") == errors
    assert (report.rows, report.failed, report.left_out) == (ROWS, {"sketch_xdog": 1, "mask": 1}, {})
    nulls = {name: sum(row[name] is None for row in expected.values()) for name in columns}
    assert report.without == {name: nulls[name] - (name == "mask") for name in ("sketch_drawn", "mask")}


def test_wide_files_have_small_row_groups_a_page_index_and_a_folder_for_each_split(corpus: str, tmp_path: Path) -> None:
    export(corpus, tmp_path, "wide")
    assert {path.name for path in tmp_path.iterdir()} == {".export", "train", "validation"}
    meta = pq.ParquetFile(next((tmp_path / "train").iterdir())).metadata
    assert meta.row_group(0).column(0).has_offset_index
    assert meta.row_group(0).num_rows <= 16


def test_columns_split_and_limit_are_heeded(corpus: str, tmp_path: Path) -> None:
    report = export(corpus, tmp_path, "wide", columns=("mask",), split="train", limit=5)
    table = ds.dataset([str(path) for path in tmp_path.rglob("*.parquet")]).to_table()
    assert (report.rows, len(table), set(table["split"].to_pylist())) == (5, 5, {"train"})
    assert "mask" in table.schema.names
    assert "color" not in table.schema.names


# ---- webdataset ---------------------------------------------------------------------------------------------------


def samples(path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a tar by WebDataset's convention: consecutive members up to the first dot of the base name."""
    current: dict[str, Any] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, suffix = re.fullmatch(r"((?:.*/)?[^.]+)[.](.+)", member.name).groups()  # type: ignore[union-attr]
            if current and current["__key__"] != key:
                yield current
                current = {}
            assert suffix not in current
            current |= {"__key__": key, suffix: tar.extractfile(member).read()}  # type: ignore[union-attr]
    yield current


def test_a_tar_holds_each_row_once_its_files_together(corpus: str, tmp_path: Path) -> None:
    export(corpus, tmp_path, "webdataset", number=2)
    tars = sorted(tmp_path.rglob("*.tar"))
    assert tars[0].relative_to(tmp_path).as_posix() == "train/train-000000.tar"
    found = [sample for path in tars for sample in samples(path)]
    expected = rows_of(corpus, 2)
    assert sorted(sample["__key__"] for sample in found) == sorted(expected)
    for sample in found:
        row = expected[sample["__key__"]]
        known = json.loads(sample["json"])
        assert (known["tags"], known["group"], known["score"]) == (row["tags"], row["group"], row["score"])
        assert sample["color.jpg"] == row["color"]  # whatever the bytes are: a column has one suffix
        assert sample.get("mask.png") == row["mask"]
        assert sample.get("sketch_xdog.png") == row["sketch_xdog"]
        assert known["errors"] == {name: "no luck" for name in ("mask", "sketch_xdog") if row[f"{name} error"]}
        assert known["phash"] == f"{row['phash']:016x}"
        assert [known[name] for name in ("split", "source", "width", "height")] == [
            row[name] for name in ("split", "source", "width", "height")
        ]
    assert sum(sample["color.jpg"].startswith(b"\xff\xd8") for sample in found) == 1


def test_webdataset_itself_reads_the_tars(corpus: str, tmp_path: Path) -> None:
    export(corpus, tmp_path, "webdataset")
    urls = [str(path) for path in sorted(tmp_path.rglob("*.tar"))]
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    expected = rows_of(corpus)
    assert sorted(sample["__key__"] for sample in found) == sorted(expected)
    for sample in found:
        np.testing.assert_allclose(sample["color.jpg"], decode(expected[sample["__key__"]]["color"]).rgb, atol=1)


@pytest.mark.parametrize("layout", ["wide", "webdataset", "folders", "official"])
def test_the_same_snapshot_gives_the_same_bytes(corpus: str, tmp_path: Path, layout: str) -> None:
    for name in ("a", "b"):
        export(corpus, tmp_path / name, layout)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a")


# ---- folders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["folders", "webdataset"])
def test_a_corpus_built_from_an_export_has_the_same_pictures_drawn_sketches_masks_and_facts(
    corpus: str, tmp_path: Path, layout: str
) -> None:
    report = export(corpus, tmp_path / "export", layout)
    run_build([str(tmp_path / "export")], str(tmp_path / "again"), SMALL, engine=in_process)
    there, back = rows_of(corpus), rows_of(str(tmp_path / "again"))
    before, after = by_pixels(there), by_pixels(back)
    assert before.keys() == after.keys()
    for key, row in before.items():
        assert facts(row) == facts(after[key])
        for column in ("sketch_drawn", "mask"):
            pair = [None if r[column] is None else decode_png(r[column]).tolist() for r in (row, after[key])]
            assert pair[0] == pair[1], column
    assert sum(row["sketch_drawn"] is not None for row in after.values()) == 2
    assert sum(row["mask"] is not None for row in after.values()) == 2
    assert report.rows == ROWS
    plain = [row["id"] for row in there.values() if row["mask"] is None]
    assert set(plain) <= back.keys()  # bytes that were stored as they came are the same picture by id too


def test_a_corpus_built_from_the_official_layout_has_the_same_pictures_and_the_chosen_sketches(
    corpus: str, tmp_path: Path
) -> None:
    export(corpus, tmp_path / "export", "official", split="train")
    run_build([str(tmp_path / "export" / "train")], str(tmp_path / "again"), SMALL, engine=in_process)
    before = by_pixels({key: row for key, row in rows_of(corpus).items() if row["split"] == "train"})
    after = by_pixels(rows_of(str(tmp_path / "again")))
    assert before.keys() == after.keys()
    for key, row in before.items():
        assert (decode_png(after[key]["sketch_drawn"]) == decode_png(row["sketch_xdog"])).all()
        assert after[key]["tags"] == row["tags"]
        assert (after[key]["mask"] is None) == (row["mask"] is None)


def by_pixels(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {pixel_hash(decode(row["color"]).rgb): row for row in rows.values()}


def facts(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in ("group", "tags", "score", "split", "bucket")]


def test_the_folders_are_one_for_each_kind(corpus: str, tmp_path: Path) -> None:
    export(corpus, tmp_path, "folders")
    kinds = {re.sub(r"/[0-9a-f]{12}/.*", "", name) for name in files(tmp_path)}
    of_train = {"color", "sketch/xdog", "sketch/drawn", "mask", "region_map", "metadata.parquet"}
    assert kinds - {f"validation/{name}" for name in of_train} == {"index.jsonl", *(f"train/{n}" for n in of_train)}
    assert len(files(tmp_path)["index.jsonl"].splitlines()) == ROWS


# ---- Hugging Face datasets ----------------------------------------------------------------------------------------


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    """`datasets.load_dataset` of a folder, which asks nobody and keeps its cache here."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return lambda folder: datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


@pytest.mark.seconds
def test_hugging_face_datasets_loads_the_tars(corpus: str, tmp_path: Path, load: Callable[[Path], Any]) -> None:
    export(corpus, tmp_path / "out", "webdataset", number=2)
    loaded, expected = load(tmp_path / "out"), rows_of(corpus, 2)
    assert set(loaded) == {"train", "validation"}
    found = [(split, row) for split in loaded for row in loaded[split]]
    assert sorted(row["__key__"] for _, row in found) == sorted(expected)
    for split, row in found:
        wanted, known = expected[row["__key__"]], row["json"]
        assert known["split"] == split
        for name in ("id", "source", "width", "height", "tags", "group", "score", "pixel_hash"):
            assert known[name] == wanted[name], name
        assert known["phash"] == f"{wanted['phash']:016x}"
        assert known["errors"]["mask"] == wanted["mask error"]
        same_pictures(row, wanted, {"color": "color.jpg"} | {name: f"{name}.png" for name in PLANES})


@pytest.mark.seconds
def test_hugging_face_datasets_loads_the_folders(corpus: str, tmp_path: Path, load: Callable[[Path], Any]) -> None:
    export(corpus, tmp_path / "out", "folders", number=2)
    loaded, expected = load(tmp_path / "out"), rows_of(corpus, 2)
    found = [(split, row) for split in ("train", "validation") for row in loaded[split]]
    assert sorted(row["id"] for _, row in found) == sorted(expected)
    for split, row in found:
        wanted = expected[row["id"]]
        assert row["split"] == split
        for name in ("source", "width", "height", "tags", "group", "score", "caption", "bucket"):
            assert row[name] == wanted[name], name
        assert row["phash"] == f"{wanted['phash']:016x}"
        same_pictures(row, wanted, {"color": "image"} | {name: name for name in PLANES})


def test_json_values_are_text_in_both(tmp_path: Path, corpus: str) -> None:
    """Names in them differ from row to row, which no table takes."""
    place = Place("train", "ab", 0, ["aesthetic", "color"], ["aesthetic"])
    found = next(iter(rows_of(corpus).values()))
    known = {name: found[name] for name in ROW_SCHEMA.names}
    row = ExportRow(known, {"aesthetic": b'{"x": 5.5}', "color": found["color"]}, {})
    (tars,) = LAYOUTS["webdataset"].files([row], place)
    with tarfile.open(fileobj=io.BytesIO(tars[1])) as tar:
        assert tar.getnames() == [f"{row.id}.{end}" for end in ("aesthetic.txt", "color.jpg", "json")]
    assert LAYOUTS["folders"].entry is not None
    assert LAYOUTS["folders"].entry(row, place)["metadata"]["aesthetic"] == '{"x": 5.5}'


def test_a_score_that_is_none_is_one_line(corpus: str) -> None:
    found = next(iter(rows_of(corpus).values()))
    row = ExportRow(found, {"color": found["color"], "aesthetic": b"[" * 100_000}, {})
    entry = LAYOUTS["official"].entry
    assert entry is not None
    with pytest.raises(DataError, match=rf"^aesthetic of {row.id}: not JSON.*nested"):
        entry(row, Place("train", "ab", 0, ["color", "sketch_xdog", "mask", "aesthetic"]))


PLANES = ("sketch_xdog", "sketch_drawn", "mask", "region_map")


def same_pictures(row: dict[str, Any], wanted: dict[str, Any], names: dict[str, str]) -> None:
    """The decoded pictures are those of the corpus; where it has none, there is none."""
    for column, name in names.items():
        if wanted[column] is None:
            assert row[name] is None, column
        else:
            pixels = decode(wanted[column]).rgb if column == "color" else decode_png(wanted[column])
            mode = "RGB" if column == "color" else row[name].mode
            np.testing.assert_allclose(np.asarray(row[name].convert(mode)), pixels, atol=1)


# ---- official -----------------------------------------------------------------------------------------------------


def test_the_released_loaders_way_finds_each_picture_in_all_zips(corpus: str, tmp_path: Path) -> None:
    """Names from the list of images or from the sketch zips; the zip is the name's folder; names are equal in all."""
    report = export(corpus, tmp_path, "official", number=2)
    expected, found = rows_of(corpus, 2), set()
    for split in ("train", "validation"):
        root = tmp_path / split
        listed = json.loads((root / "image_list.json").read_text())
        zipped = [name for path in (root / "sketch").iterdir() for name in zipfile.ZipFile(path).namelist()]
        assert sorted(listed) == sorted(zipped)
        for name, facts in listed.items():
            folder, _, file = name.partition("/")
            row = expected[file.split(".")[0]]
            for kind, column in (("color", "color"), ("sketch", "sketch_xdog"), ("mask", "mask")):
                archive = zipfile.ZipFile(root / kind / f"{folder}.zip")
                if row[column] is None:
                    assert kind == "mask"
                    assert name not in archive.namelist()
                    continue
                value = archive.open(name).read()
                assert value == row[column]
                assert Image.open(io.BytesIO(value)).size == (row["width"], row["height"])
            assert facts["exist_sketch"]
            assert facts["resolution"] == min(row["width"], row["height"])
            assert facts["tags"] == ", ".join(row["tags"])
            found.add(row["id"])
    assert found == {row_id for row_id, row in expected.items() if row["sketch_xdog"] is not None}
    assert report.left_out == {"sketch_xdog": 1}


def test_the_style_of_the_sketch_is_chosen(corpus: str, tmp_path: Path) -> None:
    report = export(corpus, tmp_path, "official", style="drawn")
    assert (report.rows, report.left_out) == (2, {"sketch_drawn": ROWS - 2})


# ---- resume and refusal -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["wide", "folders", "official"])
def test_an_export_that_was_killed_goes_on_and_ends_the_same(corpus: str, tmp_path: Path, layout: str) -> None:
    """One shard done, of the next one a file but no note."""
    whole = export(corpus, tmp_path / "whole", layout)
    settings = ExportSettings(layout)
    first, second, *_ = start_export(open_snapshot(corpus, 1), str(tmp_path / "cut"), settings)
    export_shard(first)
    export_shard(second)
    (tmp_path / "cut" / ".export" / second["place"]["split"] / f"{second['place']['shard']}.json").unlink()
    report = export(corpus, tmp_path / "cut", layout)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert report == replace(whole, out=report.out, reused=1)
    again = export(corpus, tmp_path / "cut", layout)
    assert (again.reused, again.rows) == (again.shards, whole.rows)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"number": 2}, "another export lies here: digest "),
        ({"limit": 3}, "limit None, not 3"),
        ({"columns": ("color",)}, "columns "),
        ({"split": "train"}, "split None, not 'train'"),
        ({"layout": "webdataset"}, "layout 'wide', not 'webdataset'"),
    ],
)
def test_another_export_in_the_same_place_is_refused(
    corpus: str, tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    export(corpus, tmp_path, "wide")
    before = files(tmp_path)
    with pytest.raises(DataError, match=re.escape(said)):
        export(corpus, tmp_path, **({"layout": "wide"} | other))
    assert files(tmp_path) == before


def test_an_export_that_version_0_1_began_is_not_gone_on_with(corpus: str, tmp_path: Path) -> None:
    export(corpus, tmp_path, "folders")
    path = tmp_path / ".export" / "export.json"
    statement = json.loads(path.read_text())
    del statement["format"]
    path.write_text(json.dumps(statement))
    with pytest.raises(DataError, match="another export lies here: format None, not 2"):
        export(corpus, tmp_path, "folders")


def test_a_place_that_holds_something_else_is_refused(corpus: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="files here that are no export"):
        export(corpus, tmp_path, "folders")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_column_or_split_that_is_not_there_is_named_before_anything_is_written(corpus: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column depth; there are color, mask"):
        export(corpus, tmp_path, "wide", columns=("depth",))
    with pytest.raises(DataError, match="no column sketch_anime"):
        export(corpus, tmp_path, "official", style="anime")
    with pytest.raises(DataError, match="no split 'test'; there are train, validation"):
        export(corpus, tmp_path, "wide", split="test")
    assert list(tmp_path.iterdir()) == []


def test_every_layout_that_can_be_asked_for_exists() -> None:
    assert tuple(LAYOUTS) == LAYOUT_NAMES


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layout": "zip"}, "wide, webdataset, folders, official"),
        ({"layout": "official", "columns": ("mask",)}, "columns of its own"),
        ({"layout": "wide", "style": "drawn"}, "style chooses"),
        ({"layout": "folders", "columns": ("mask",)}, "needs the column color"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ExportSettings(**settings)


def test_a_damaged_file_of_the_corpus_is_named_and_not_exported(corpus: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(corpus, tmp_path / "copy"))
    victim = sorted(copy.glob("data/train/*/color-*"))[0]
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(DataError, match=victim.name):
        export(str(copy), tmp_path / "out", "wide")


@pytest.mark.s3
@pytest.mark.parametrize("layout", ["wide", "folders", "official"])
def test_an_export_from_s3_to_s3_has_the_same_bytes(corpus: str, tmp_path: Path, s3_prefix: str, layout: str) -> None:
    storage.upload_directory(Path(corpus), f"{s3_prefix}/corpus")
    export(f"{s3_prefix}/corpus", f"{s3_prefix}/out", layout)
    export(corpus, tmp_path / "local", layout)
    back = storage.download_directory(f"{s3_prefix}/out", tmp_path / "back")
    assert files(back) == files(tmp_path / "local")


# ---- corpora that are not what they should be ---------------------------------------------------------------------


def test_equal_digests_with_other_shards_are_another_export(tmp_path: Path) -> None:
    """A picture goes and comes back: the same rows, dealt out otherwise."""
    source, out = write_pictures(tmp_path / "source", 10), str(tmp_path / "corpus")
    away = sorted(source.glob("*.png"))[0]
    kept = away.read_bytes()
    run_build([str(source)], out, SMALL, engine=in_process)
    away.unlink()
    run_build([str(source)], out, SMALL, engine=in_process)
    away.write_bytes(kept)
    run_build([str(source)], out, SMALL, engine=in_process)
    assert open_snapshot(out, 3).digest == open_snapshot(out, 1).digest
    export(out, tmp_path / "tars", "webdataset")
    before = files(tmp_path / "tars")
    with pytest.raises(DataError, match="another export lies here: files "):
        export(out, tmp_path / "tars", "webdataset", number=3)
    assert files(tmp_path / "tars") == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"shard": "../../../away"},
        {"split": "../away"},
        {"split": "/tmp"},
        {"column": "../mask"},
        {"path": "../away.parquet"},
        {"path": "/tmp/away.parquet"},
    ],
    ids=str,
)
def test_names_that_lead_out_of_the_corpus_are_refused(corpus: str, tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Also with a path that follows from the names, as a forger would write it."""
    copy = str(shutil.copytree(corpus, tmp_path / "copy"))
    snapshot = open_snapshot(copy, 2)
    held = [file for shard in shards(snapshot) for file in shard.files.values()]
    forged = replace(held[0], **wrong)
    if "path" not in wrong:
        path = column_path(forged.split, forged.shard, forged.column, forged.fingerprint)
        forged = replace(forged, path=path)
    facts = snapshot.document
    tables = snapshot.table("index"), snapshot.table("rejects")
    contents = Contents([forged, *held[1:]], *tables, facts["operators"], facts["sources"], facts["recipe"])
    hostile, _ = commit(copy, contents, snapshot)
    with pytest.raises(DataError, match="is no place of that file in a corpus"):
        list(shards(hostile))


def test_an_id_that_leads_out_of_the_export_is_refused(corpus: str, tmp_path: Path) -> None:
    copy = str(shutil.copytree(corpus, tmp_path / "copy"))
    shard = next(shards(open_snapshot(copy)))
    for column, file in shard.files.items():
        path = storage.join(copy, file.path)
        writer = ColumnWriter(column)
        for row in read_rows(storage.read_bytes(path), column, path):
            writer.add_row(row | {"id": f"../../../{row['id']}"})
        storage.write_whole(path, writer.finish())
    with pytest.raises(DataError, match="is no id of a row"):
        export(copy, tmp_path / "a" / "b", "folders", number=2)
    assert {path.name for path in tmp_path.iterdir()} == {"copy", "a"}
