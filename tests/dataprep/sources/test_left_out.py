"""No file of a source is passed over in silence: what is not taken is counted by kind, litter as one number."""

from collections import Counter
from pathlib import Path

import pytest

from dataprep.errors import DataError
from dataprep.sources import Selection, list_batches
from dataprep.sources.left_out import KINDS_SHOWN, Left, count_file, is_litter
from tests.dataprep.sources.source_helpers import items, png, short, tar_bytes, write, zip_bytes


def left(source: Path) -> Left:
    counts: Counter[str] = Counter()
    for _ in list_batches(str(source), Selection(), counts):
        pass
    return Left.of(counts)


@pytest.mark.parametrize(
    "path",
    [
        *("__MACOSX/a.png", "a/__MACOSX/._a.png", "._a.png", "b/._c", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg"),
        *(".thumbnails/a.png", ".ipynb_checkpoints/a-checkpoint.png", "Thumbs.db", "b/.DS_Store", "desktop.ini"),
        *(
            "$RECYCLE.BIN/S-1/a.png",
            "PaxHeader/a.png",
            "b/PaxHeaders.12/a.png",
            ".git/objects/00/11",
            ".cache/huggingface/a.png",
        ),
    ],
)
def test_what_systems_and_tools_leave_behind_is_litter(path: str) -> None:
    assert is_litter(path)


@pytest.mark.parametrize(
    "path", ["a.png", "macosx/a.png", "_a.png", "thumbs/a.png", ".hidden.png", "a/thumbnails/b.png"]
)
def test_other_names_are_no_litter(path: str) -> None:
    assert not is_litter(path)


def test_a_tree_takes_every_kind_that_is_read_and_counts_the_others(tmp_path: Path) -> None:
    taken = ("a.apng", "b.jfif", "c.JPE", "d.tif", "e.TIFF", "f.avif", "g.psd", "h.jp2", "i.png")
    others = ("a.heic", "b.HEIC", "c.jxl", "x.txt", "readme", "e.tar.sig~", ".hidden")
    litter = ("__MACOSX/._i.png", ".thumbnails/i.png", "Thumbs.db", "@eaDir/i.png/x.jpg")
    for name in (*taken, *others, *litter):
        write(tmp_path / name, png())
    assert short(items(tmp_path)) == sorted(taken)
    assert left(tmp_path) == Left(
        not_taken={".heic": 2, "no suffix": 2, ".jxl": 1, ".txt": 1, "other suffix": 1}, litter=len(litter)
    )


def test_a_source_inside_of_a_folder_called_as_litter_is_a_source(tmp_path: Path) -> None:
    write(tmp_path / ".cache" / "__MACOSX" / "a.png", png())
    assert short(items(tmp_path / ".cache" / "__MACOSX")) == ["a.png"]


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes], ids=["tar", "zip"])
def test_members_without_a_picture_are_counted_by_what_they_are(tmp_path: Path, pack: type) -> None:
    members = {"a.png": png(), "a.sketch.png": png(1), "a.txt": b"a word", "a.sketch_xdog.png": png(2)}
    members |= {"b.sketch.png": png(3), "b.txt": b"lost", "c.json": b"{}", "d.cls": b"1", "e.mask.png": png(4)}
    members |= {"f.heic": b"x", "g.zip": zip_bytes({"a.png": png()}), "h.tar.gz": b"x", "__MACOSX/._a.png": b"x"}
    members |= {"._a.png": b"x", "x/.DS_Store": b"x"}
    write(tmp_path / "s.tar" if pack is tar_bytes else tmp_path / "s.zip", pack(members))
    found = items(tmp_path)
    assert short(found) == [f"{next(tmp_path.iterdir()).name}#a.png"]
    assert found[0].caption == "a word"
    lone = ("sketch", "mask", "caption", "facts", "class")
    assert left(tmp_path) == Left(
        not_taken={
            "archive inside an archive": 2,
            ".heic": 1,
            **dict.fromkeys(sorted(f"{what} without a picture" for what in (*lone,)), 1),
            "derived column": 1,
        },
        litter=3,
    )


def test_pictures_that_an_index_does_not_name_are_counted(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "lines/a.png", "notes.txt"):
        write(tmp_path / name, png())
    write(tmp_path / "index.jsonl", '{"path": "a.png", "sketch": "lines/a.png"}\n')
    assert left(tmp_path) == Left(not_taken={".txt": 1, "not in index.jsonl": 1})


def test_what_lies_beside_the_official_layout_is_counted(tmp_path: Path) -> None:
    for name in ("color/a.png", "sketch/a.png", "sketch/b.png", "color/a.kra", "reference/a.png", "readme.md"):
        write(tmp_path / name, png())
    write(tmp_path / "color" / "0001.zip", zip_bytes({"c.png": png(), "__MACOSX/._c.png": b"", "c.txt": b""}))
    write(tmp_path / "@eaDir" / "a.png", png())
    write(tmp_path / "color" / "Thumbs.db", b"")
    found = left(tmp_path)
    assert found.not_selected == {"no picture": 1}
    assert found.not_taken == {".kra": 1, ".md": 1, ".txt": 1, "folder beside color": 1}
    assert found.litter == 2


def test_a_folder_of_what_is_not_read_says_so(tmp_path: Path) -> None:
    for name in ("a.heic", "b.heic", "c.clip"):
        write(tmp_path / name, b"x")
    with pytest.raises(DataError, match=r"no pictures here, but \.heic 2, \.clip 1 \(looked for PNG"):
        items(tmp_path)


def test_names_of_kinds_are_bounded() -> None:
    counts: Counter[str] = Counter()
    for number in range(1000):
        count_file(counts, f"a.x{number}")
    count_file(counts, "b.\x1b[31m")
    found = Left.of(counts).not_taken
    assert len(found) == KINDS_SHOWN + 1
    assert sum(found.values()) == 1001
    assert all(kind.isprintable() for kind in found)
