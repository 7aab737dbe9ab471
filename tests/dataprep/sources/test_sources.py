"""What counts as a picture of a source, in which order, and what is known about it."""

import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataprep.errors import DataError
from dataprep.pictures import assembled
from dataprep.pictures.decode import UnreadablePicture, decode, decode_png
from dataprep.sources import RefusedItem, Selection, SourceItem, list_items, read_item

SHIPPED = Path(assembled.__file__).parents[1] / "assets" / "pictures"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(path)


def names(source: Path) -> list[str]:
    return [str(Path(item.uri).relative_to(source)) for item in list_items(str(source))]


def test_every_picture_of_a_folder_tree_is_found_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/deep/y.webp", "c.gif"):
        picture(tmp_path / name)
    (tmp_path / "README.md").write_text("not a picture")
    assert names(tmp_path) == ["a/deep/y.webp", "a/z.JPG", "b.png", "c.gif"]
    assert names(tmp_path) == names(tmp_path)


@pytest.mark.parametrize("spelling", ["{}", "{}/", "./{}", "{}/../{}"])
def test_the_spelling_of_a_folder_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    picture(tmp_path / "in" / "x.png")
    (tmp_path / "in" / "index.jsonl").write_text('{"path": "x.png", "group": "g"}\n')
    monkeypatch.chdir(tmp_path)
    (item,) = list_items(spelling.format("in", "in"))
    assert (Path(item.uri).resolve(), item.group) == ((tmp_path / "in" / "x.png").resolve(), "g")


def test_an_index_decides_what_is_taken_below_it_and_nowhere_else(tmp_path: Path) -> None:
    for name in ("free.png", "set/one.png", "set/one-lines.png", "set/left-out.png"):
        picture(tmp_path / name)
    entry = {"path": "one.png", "group": "ann", "tags": ["smile"], "sketch": "one-lines.png"}
    (tmp_path / "set" / "index.jsonl").write_text(json.dumps(entry) + "\n\n")
    free, one = list_items(str(tmp_path))
    assert free == SourceItem(str(tmp_path / "free.png"))
    sketch = str(tmp_path / "set" / "one-lines.png")
    assert one == SourceItem(str(tmp_path / "set" / "one.png"), "ann", ("smile",), sketch)
    assert read_item(one).drawn_sketch == (tmp_path / "set" / "one-lines.png").read_bytes()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("not json", "not JSON"),
        ("3", "object"),
        ('{"group": "a"}', "None is not a path"),
        ('{"path": "../secret.png"}', "not a path inside"),
        ('{"path": "/etc/hostname"}', "there is no"),
        ('{"path": "gone.png"}', "there is no gone.png"),
        ('{"path": "x.png", "sketch": "gone.png"}', "there is no gone.png"),
        ('{"path": 3}', "path must be a word"),
    ],
)
def test_a_broken_line_of_an_index_costs_itself_and_an_index_of_such_lines_is_an_error(
    tmp_path: Path, line: str, says: str
) -> None:
    for name in ("in/x.png", "in/good.png", "secret.png"):
        picture(tmp_path / name)
    index = tmp_path / "in" / "index.jsonl"
    index.write_text(line)
    with pytest.raises(DataError, match=says):
        list(list_items(str(tmp_path / "in")))
    index.write_text(f'{{"path": "good.png"}}\n{line}\n{{"path": "x.png"}}\n')
    good, bad, other = list_items(str(tmp_path / "in"))
    assert (Path(good.uri).name, Path(other.uri).name) == ("good.png", "x.png")
    assert bad.uri == f"{index}#line 2"
    with pytest.raises(RefusedItem, match=says):
        read_item(bad)


def test_a_source_without_pictures_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    for source in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match="no pictures here"):
            list(list_items(str(source)))


def test_a_file_whose_name_is_no_text_is_refused_and_the_others_are_taken(tmp_path: Path) -> None:
    picture(tmp_path / "good.png")
    os.link(tmp_path / "good.png", os.fsencode(tmp_path) + b"/\xff.png")
    good, odd = list_items(str(tmp_path))
    assert read_item(good).data
    with pytest.raises(RefusedItem, match="its name is not UTF-8"):
        read_item(odd)


def test_facts_of_an_index_in_a_folder_can_be_selected_and_grouped(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "mask.png"):
        picture(tmp_path / "set" / name)
    lines = [
        {
            "path": "b.png",
            "rating": "g",
            "score": 2.5,
            "caption": "b",
            "mask": "mask.png",
            "date": "2020-01-01",
            "of": "x",
        },
        {"path": "a.png"},
    ]
    (tmp_path / "set" / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [Path(item.uri).name for item in list_items(str(tmp_path))] == ["b.png", "a.png"]
    (item,) = list_items(str(tmp_path), Selection(min_score=2, date_to="2020", group_by="of"))
    assert (item.rating, item.score, item.caption, item.group) == ("g", 2.5, "b", "x")
    assert read_item(item).mask == (tmp_path / "set" / "mask.png").read_bytes()


def known_answers(folder: Path, **settings: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = gzip.decompress((SHIPPED / "assembled" / "open-peeps.jsonl.gz").read_bytes()).splitlines(keepends=True)
    (folder / "few.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[:3])))
    fields = {"templates": ["few.jsonl.gz"], "colorings": 4, "seed": 1, "size": 64, **settings}
    (folder / "assembled.json").write_text(json.dumps(fields))
    return folder


def test_a_template_from_elsewhere_draws_no_picture_of_this_machine(tmp_path: Path) -> None:
    picture(tmp_path / "secret.png")
    image = f"<image href='{tmp_path / 'secret.png'}' width='64' height='64'/>"
    for body, says in ((image, "never loaded"), ("<rect width='9' height='9'/>", "")):
        source = tmp_path / f"in{len(says)}"
        source.mkdir()
        markup = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 64 64'>{body}</svg>"
        (source / "own.jsonl").write_text(json.dumps({"id": "x", "style": "s", "tags": [], "svg": markup}))
        fields = {"templates": ["own.jsonl"], "colorings": 1, "seed": 1, "size": 64}
        (source / "assembled.json").write_text(json.dumps(fields))
        (item,) = list_items(str(source))
        if says:
            with pytest.raises(RefusedItem, match=says):
                read_item(item)
        else:
            assert read_item(item).mask


def test_assembled_pictures_come_colouring_first_and_grouped_by_drawing(tmp_path: Path) -> None:
    items = list(list_items(str(known_answers(tmp_path))))
    assert len(items) == len({item.uri for item in items}) == 12
    assert len({item.group for item in items[:3]}) == 3
    assert len({item.group for item in items}) == 3
    assert {"assembled", "style:open-peeps"} <= set(items[0].tags)


def test_more_colourings_leave_the_first_ones_as_they_are(tmp_path: Path) -> None:
    few = list(list_items(str(known_answers(tmp_path, colorings=2))))
    many = list(list_items(str(known_answers(tmp_path, colorings=4))))
    assert few == many[: len(few)]


def test_an_assembled_picture_brings_its_exact_line_art_mask_and_assembly(tmp_path: Path) -> None:
    item = list(list_items(str(known_answers(tmp_path))))[5]
    data = read_item(item)
    assert data == read_item(item)
    assert data.assembly is not None
    assert data.drawn_sketch is not None
    assert data.mask is not None
    assembly = assembled.from_json(data.assembly)
    np.testing.assert_array_equal(decode(data.data).rgb, assembled.render(assembly, 64))
    np.testing.assert_array_equal(decode_png(data.drawn_sketch), assembled.line_art(assembly, 64))
    np.testing.assert_array_equal(decode_png(data.mask), assembled.mask(assembly, 64))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"templates": []}, "templates must name"),
        ({"templates": ["gone.jsonl"]}, "there is no gone.jsonl"),
        ({"colorings": 0}, "colorings must be"),
        ({"size": "big"}, "size must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_a_broken_known_answer_folder_says_what_is_wrong(
    tmp_path: Path, settings: dict[str, object], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        list(list_items(str(known_answers(tmp_path, **settings))))


def test_a_template_with_an_unknown_colour_name_is_refused(tmp_path: Path) -> None:
    folder = known_answers(tmp_path)
    line = {"id": "a", "style": "b", "tags": [], "svg": "<svg>{cape}</svg>"}
    (folder / "few.jsonl.gz").write_text(json.dumps(line))
    with pytest.raises(DataError, match="cape"):
        list(list_items(str(folder)))


@pytest.mark.seconds
def test_every_shipped_picture_reads_except_the_one_that_is_broken_on_purpose() -> None:
    items = [item for item in list_items(str(SHIPPED)) if item.kind == "file"]
    broken = []
    for item in items:
        try:
            picture = decode(read_item(item).data)
        except UnreadablePicture:
            broken.append(Path(item.uri).name)
            continue
        if item.sketch_uri is not None:
            sketch = read_item(item).drawn_sketch
            assert sketch is not None
            assert decode(sketch).rgb.shape == picture.rgb.shape
    assert broken == ["cut-off.jpg"]
    assert len(items) == 60 + 12 + 1 + 4


def test_the_shipped_pictures_stay_within_six_megabytes_and_are_credited() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 6_000_000
    credits = (Path(__file__).parents[3] / "docs" / "CREDITS.md").read_text()
    for name in ("Lisa Wischofsky", "Pablo Stanley", "OpenMoji", "Deji", "derik", "Mugenjohncel", "DaFool"):
        assert name in credits


def test_a_copied_source_lists_the_same_items_elsewhere(tmp_path: Path) -> None:
    here = known_answers(tmp_path / "here")
    shutil.copytree(here, tmp_path / "there")
    moved = [(Path(item.uri).name, item.group, item.detail) for item in list_items(str(tmp_path / "there"))]
    assert moved == [(Path(item.uri).name, item.group, item.detail) for item in list_items(str(here))]
