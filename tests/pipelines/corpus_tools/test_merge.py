"""A merge is what one build from all sources would have made, without computing anything again."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataprep.corpus.column_files import read_rows
from dataprep.corpus.shard_files import shards
from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.corpus_tools.merge import merge_shard, plan_merge
from dataprep.errors import DataError
from dataprep.pictures.canvas import CanvasSettings
from dataprep.pictures.decode import encode_png
from dataprep.pictures.identity import content_id
from dataprep.storage import store as storage
from pipelines.corpus_build.build import BuildReport, run_build
from pipelines.corpus_tools.merge import MergeReport, open_parts, run_merge
from pipelines.execution.ray_data import in_process
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import SMALL, picture, write_broken, write_pictures


def build(sources: list[Path], out: Path | str, recipe: BuildRecipe = SMALL) -> BuildReport:
    return run_build([str(source) for source in sources], str(out), recipe, engine=in_process)


def merge(parts: list[Path], out: Path | str, shared: bool = False) -> MergeReport:
    opened = open_parts([(str(part), None) for part in parts], str(out), shared)
    return run_merge(opened, str(out), shared, engine=in_process)


def similar(seed: int) -> bytes:
    """A picture that looks like `picture(seed)` and is another file with other pixels."""
    pixels = picture(seed).astype(np.int16) + 1
    return encode_png(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three folders: of the second, two pictures are files of the first, one has its pixels and one resembles one."""
    folder = tmp_path_factory.mktemp("sources")
    one, two, three = folder / "one", folder / "two", folder / "three"
    write_pictures(one, 11)
    write_pictures(two, 9, first=20)
    write_pictures(three, 5, first=40)
    for number in (3, 4):
        shutil.copy(one / f"p{number:04d}.png", two / f"copy{number}.png")
    (two / "pixels.bmp").write_bytes(bmp(5))
    (two / "similar.png").write_bytes(similar(6))
    (two / "small.png").write_bytes(encode_png(picture(90, 16, 16)))
    write_broken(one)
    return [one, two, three]


def bmp(seed: int) -> bytes:
    return bytes(cv2.imencode(".bmp", picture(seed)[..., ::-1])[1].tobytes())


def jpeg_before(png: bytes, seed: int) -> bytes:
    """A JPEG that looks like `picture(seed)` and whose id comes before that of `png`."""
    bgr, option = picture(seed)[..., ::-1], cv2.IMWRITE_JPEG_QUALITY
    made = (cv2.imencode(".jpg", bgr, [option, quality])[1].tobytes() for quality in range(99, 80, -1))
    return next(data for data in made if content_id(data) < content_id(png))


@pytest.fixture(scope="module")
def parts(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    for source in sources:
        build([source], folder / source.name)
    return [folder / source.name for source in sources]


def test_the_digest_is_that_of_one_build_from_all_sources(
    sources: list[Path], parts: list[Path], tmp_path: Path
) -> None:
    report = merge(parts, tmp_path / "merged")
    whole = build(sources, tmp_path / "whole")
    assert report.digest == whole.digest
    assert (report.rows, report.rejects) == (whole.rows, whole.rejects)
    assert report.duplicates == {"duplicate-file": 2, "duplicate-pixels": 1, "near-duplicate": 1}
    assert verify(str(tmp_path / "merged")) == []


@pytest.mark.parametrize("canvas", [0, 64])
def test_of_near_duplicates_the_lossless_and_then_the_larger_one_is_kept_as_by_one_build(
    tmp_path: Path, canvas: int
) -> None:
    recipe = replace(SMALL, canvas=CanvasSettings(size=canvas))
    lossless, large = encode_png(picture(1)), encode_png(cv2.resize(picture(2), None, fx=2, fy=2))
    held = {
        "one": {"a.jpg": jpeg_before(lossless, 1), "b.png": large, "c.png": encode_png(picture(3))},
        "two": {"a.png": lossless, "b.png": encode_png(picture(2))},
    }
    for part, files in held.items():
        (tmp_path / part).mkdir()
        for name, data in files.items():
            (tmp_path / part / name).write_bytes(data)
        build([tmp_path / part], tmp_path / f"corpus-{part}", recipe)
    report = merge([tmp_path / "corpus-two", tmp_path / "corpus-one"], tmp_path / "merged")
    whole = build([tmp_path / part for part in held], tmp_path / "whole", recipe)
    assert report.digest == whole.digest
    assert report.duplicates == {"near-duplicate": 2}
    kept = set(open_snapshot(str(tmp_path / "merged")).table("index")["id"].to_pylist())
    assert {content_id(lossless), content_id(large)} < kept


def test_every_reject_of_a_duplicate_names_the_row_that_was_kept(parts: list[Path], tmp_path: Path) -> None:
    merge(parts, tmp_path)
    snapshot = open_snapshot(str(tmp_path))
    ids = set(snapshot.table("index")["id"].to_pylist())
    rejects = [row for row in snapshot.table("rejects").to_pylist() if "duplicate" in row["reason"]]
    assert len(rejects) == 4
    for row in rejects:
        assert row["message"] in ids
        assert (row["id"] == row["message"]) == (row["reason"] == "duplicate-file")


def test_shards_without_duplicates_are_copied_and_only_the_others_are_filtered(
    parts: list[Path], tmp_path: Path
) -> None:
    report = merge(parts, tmp_path)
    before = {file.path: file.sha256 for part in parts for file in files_of(part)}
    after = {file.path: file.sha256 for file in files_of(tmp_path)}
    shards_before = sum(len(list(shards(open_snapshot(str(part))))) for part in parts)
    assert report.taken + report.filtered + report.left_behind == shards_before
    assert report.filtered > 0
    same = {path for path in after if after[path] == before.get(path)}
    assert len(after) - len(same) == 6 * report.filtered
    assert len(same) == 6 * report.taken


def files_of(corpus: Path) -> list:
    return [file for shard in shards(open_snapshot(str(corpus))) for file in shard.files.values()]


def test_no_cell_is_lost_doubled_or_changed(parts: list[Path], tmp_path: Path) -> None:
    """Brute force over all cells of all parts: the first row by id, then by part, is the one that is kept."""
    merge(parts, tmp_path)
    merged = cells(tmp_path)
    assert max(Counter(key for key, _ in merged).values()) == 1
    every = dict(pair for part in reversed(parts) for pair in cells(part))
    kept = {row_id for (row_id, _), _ in merged}
    assert dict(merged) == {key: value for key, value in every.items() if key[0] in kept}


def cells(corpus: Path) -> list[tuple[tuple[str, str], object]]:
    """((id, column), cell) of everything; of the row column without its address."""
    found: list[tuple[tuple[str, str], object]] = []
    for file in files_of(corpus):
        for row in read_rows((corpus / file.path).read_bytes(), file.column, file.path):
            said = str(row | {"source": ""}) if file.column == "row" else (row[file.column], row["error"])
            found.append(((row["id"], file.column), said))
    return found


def test_a_picture_that_one_part_dropped_and_another_kept_is_told_as_one_build_tells_it(tmp_path: Path) -> None:
    """x resembles a; part one holds both and dropped one of them, part two holds the dropped one alone."""
    a, x = encode_png(picture(1)), similar(1)
    for part, pictures in (("one", [a, x]), ("two", [a]), ("three", [x])):
        write_pictures(tmp_path / part, 2, first=50 + 10 * len(part))
        for number, data in enumerate(pictures):
            (tmp_path / part / f"x{number}.png").write_bytes(data)
    for names in (["one", "two"], ["one", "three"], ["two", "three", "one"]):
        sources = [tmp_path / name for name in names]
        out = tmp_path / "-".join(names)
        for source in sources:
            build([source], out / source.name)
        report = merge([out / source.name for source in sources], out / "merged")
        assert report.digest == build(sources, out / "whole").digest, names


def test_merging_again_writes_nothing(parts: list[Path], tmp_path: Path) -> None:
    first = merge(parts, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = merge(parts, tmp_path)
    assert (again.is_new, again.snapshot, again.digest) == (False, 1, first.digest)
    unfiltered = {shard.shard for part in parts for shard in shards(open_snapshot(str(part)))}
    for path, written in before.items():
        if path.parent.name in unfiltered:
            assert path.stat().st_mtime_ns == written


def test_a_merge_that_was_killed_goes_on(parts: list[Path], tmp_path: Path) -> None:
    opened = open_parts([(str(part), None) for part in parts], str(tmp_path / "cut"))
    for task in plan_merge(opened, str(tmp_path / "cut")).tasks[::2]:
        merge_shard(task)
    assert not (tmp_path / "cut" / "snapshots").exists()
    assert merge(parts, tmp_path / "cut").digest == merge(parts, tmp_path / "whole").digest
    assert verify(str(tmp_path / "cut")) == []


def test_a_file_of_the_right_size_and_other_content_is_copied_again(parts: list[Path], tmp_path: Path) -> None:
    merge(parts, tmp_path)
    unfiltered = {shard.shard for part in parts for shard in shards(open_snapshot(str(part)))}
    victim = next(path for path in sorted(tmp_path.glob("data/*/*/color-*")) if path.parent.name in unfiltered)
    whole = victim.read_bytes()
    victim.write_bytes(bytes(len(whole)))
    assert merge(parts, tmp_path).bytes_written >= len(whole)
    assert victim.read_bytes() == whole
    assert verify(str(tmp_path)) == []


def test_a_part_whose_file_was_swapped_is_named_and_nothing_is_committed(parts: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(parts[2], tmp_path / "copy"))
    victim = next(copy / file.path for file in files_of(copy) if file.column == "color")
    victim.write_bytes(bytes(victim.stat().st_size))
    with pytest.raises(DataError, match=f"{victim.name}: the content is not what was written"):
        merge([parts[0], copy], tmp_path / "out")
    assert not (tmp_path / "out" / "snapshots").exists()


def test_a_build_goes_on_from_the_result_without_reading_a_picture(
    sources: list[Path], parts: list[Path], tmp_path: Path
) -> None:
    report = merge(parts, tmp_path)
    again = build(sources, tmp_path)
    assert (again.is_new, again.digest, again.pictures_read) == (False, report.digest, 0)


def test_a_snapshot_other_than_the_newest_can_be_merged(sources: list[Path], parts: list[Path], tmp_path: Path) -> None:
    build([sources[0]], tmp_path / "one")
    write_pictures(tmp_path / "more", 2, first=70)
    build([sources[0], tmp_path / "more"], tmp_path / "one")
    out = str(tmp_path / "out")
    report = run_merge(open_parts([(str(tmp_path / "one"), 1), (str(parts[2]), None)], out), out, engine=in_process)
    assert report.digest == build([sources[0], sources[2]], tmp_path / "whole").digest


# ---- what does not fit --------------------------------------------------------------------------------------------


def test_parts_with_other_operators_are_refused_and_the_difference_is_named(
    sources: list[Path], parts: list[Path], tmp_path: Path
) -> None:
    build([sources[2]], tmp_path / "other", replace(SMALL, seed=1))
    with pytest.raises(DataError, match=r"differ in region_map \(\w+, \w+\), sketch_xdog \(\w+, \w+\)") as said:
        merge([parts[0], tmp_path / "other"], tmp_path / "out")
    assert "--columns shared" in str(said.value)
    assert not (tmp_path / "out").exists()


def test_with_shared_columns_what_differs_is_left_out(sources: list[Path], parts: list[Path], tmp_path: Path) -> None:
    build([sources[2]], tmp_path / "other", replace(SMALL, seed=1))
    report = merge([parts[0], tmp_path / "other"], tmp_path / "out", shared=True)
    assert set(open_snapshot(str(tmp_path / "out")).document["operators"]) == {"row", "color", "mask", "sketch_drawn"}
    assert sum(report.rows.values()) == 16
    assert verify(str(tmp_path / "out")) == []


def test_parts_with_another_split_never_fit(sources: list[Path], parts: list[Path], tmp_path: Path) -> None:
    build([sources[2]], tmp_path / "other", replace(SMALL, validation_share=0.5))
    with pytest.raises(DataError, match=r"row \(.*other settings"):
        merge([parts[0], tmp_path / "other"], tmp_path / "out", shared=True)


def test_a_place_that_holds_a_corpus_is_refused(parts: list[Path], tmp_path: Path) -> None:
    copy = shutil.copytree(parts[2], tmp_path / "copy")
    for out in (copy, parts[0]):
        with pytest.raises(DataError, match="there is a corpus here already"):
            merge(parts[:2], out)


def test_a_corpus_that_was_built_from_the_same_sources_gets_no_merge(
    sources: list[Path], parts: list[Path], tmp_path: Path
) -> None:
    build(sources[:2], tmp_path)
    with pytest.raises(DataError, match="no merge of these parts"):
        merge(parts[:2], tmp_path)
    assert open_snapshot(str(tmp_path)).number == 1


def test_a_part_whose_rows_are_not_those_of_its_index_is_named(parts: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(parts[0], tmp_path / "copy"))
    one, two = [file.path for file in files_of(copy) if file.column == "row"][:2]
    (copy / one).write_bytes((copy / two).read_bytes())
    with pytest.raises(DataError, match="copy: its row files do not hold the rows of its index"):
        merge([copy, parts[1]], tmp_path / "out")


def test_one_corpus_is_no_merge(parts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least two"):
        merge(parts[:1], tmp_path)


@pytest.mark.s3
def test_parts_and_result_may_lie_on_s3(parts: list[Path], tmp_path: Path, s3_prefix: str) -> None:
    storage.upload_directory(parts[0], f"{s3_prefix}/one")
    expected = merge(parts[:2], tmp_path / "local")
    out = f"{s3_prefix}/merged"
    report = run_merge(open_parts([(f"{s3_prefix}/one", None), (str(parts[1]), None)], out), out, engine=in_process)
    assert report.digest == expected.digest
    assert verify(out) == []
