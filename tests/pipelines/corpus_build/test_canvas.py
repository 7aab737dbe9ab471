"""A build on a canvas, with evened strokes: every cell of every row has the canvas's size, and verify agrees."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from dataprep.corpus.column_files import read_rows
from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.lines.strokes import StrokeSettings, even_strokes
from dataprep.pictures.canvas import CanvasSettings
from dataprep.pictures.decode import decode, decode_png, encode_png
from pipelines.corpus_build.build import BuildReport, run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import SMALL, picture, write_pictures

RECIPE = replace(SMALL, canvas=CanvasSettings(size=80), strokes=StrokeSettings(styles=("xdog",)))


def build(source: Path, out: Path, recipe: BuildRecipe = RECIPE) -> BuildReport:
    return run_build([str(source)], str(out), recipe, engine=in_process)


def cells(out: Path, column: str) -> dict[str, Any]:
    files = open_snapshot(str(out)).table("files").to_pylist()
    paths = [str(out / file["path"]) for file in files if file["column"] == column]
    rows = (row for path in paths for row in read_rows(Path(path).read_bytes(), column, path))
    return {row["id"]: row if column == "row" else row[column] for row in rows}


def write_source(folder: Path) -> Path:
    """Pictures of three sizes, and one with a sketch of half its size."""
    write_pictures(folder / "color", 3)
    write_pictures(folder / "color", 3, first=10, height=120, width=90)
    (folder / "color" / "p0020.png").write_bytes(encode_png(picture(20, 80, 80)))
    (folder / "sketch").mkdir()
    (folder / "sketch" / "p0010.png").write_bytes(encode_png(picture(10, 60, 45)[..., 0]))
    return folder


def test_every_column_of_every_row_is_made_on_the_canvas(tmp_path: Path) -> None:
    report = build(write_source(tmp_path / "source"), tmp_path / "out")
    assert sum(report.rows.values()) == 7
    assert verify(str(tmp_path / "out")) == []
    rows = cells(tmp_path / "out", "row").values()
    assert {(row["width"], row["height"]) for row in rows} == {(80, 80)}
    for column in ("color", "sketch_xdog", "sketch_drawn", "region_map"):
        made = [value for value in cells(tmp_path / "out", column).values() if value is not None]
        assert len(made) == (1 if column == "sketch_drawn" else 7)
        for value in made:
            assert (decode(value).rgb if column == "color" else decode_png(value)).shape[:2] == (80, 80)


def test_strokes_of_a_build_are_those_of_the_function(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    for name, recipe in (("plain", replace(RECIPE, strokes=StrokeSettings())), ("even", RECIPE)):
        build(source, tmp_path / name, recipe)
    plain, even = (cells(tmp_path / name, "sketch_xdog") for name in ("plain", "even"))
    assert plain.keys() == even.keys()
    for row_id, sketch in plain.items():
        expected = even_strokes(decode_png(sketch), StrokeSettings())
        assert (decode_png(even[row_id]) == expected).all()


def test_another_canvas_renews_every_column_and_reads_no_picture_for_the_scan(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    build(source, tmp_path / "out")
    again = build(source, tmp_path / "out", replace(RECIPE, canvas=CanvasSettings(size=80, padding="white")))
    assert (again.is_new, again.pictures_read, again.shard_columns_reused) == (True, 0, 0)
    assert not build(source, tmp_path / "out", replace(RECIPE, canvas=CanvasSettings(80, "white"))).is_new
    assert verify(str(tmp_path / "out")) == []
