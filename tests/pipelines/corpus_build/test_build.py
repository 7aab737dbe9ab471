"""A corpus build: what comes in comes out once, unchanged input does nothing, a change does its own part and no more.

Most tests run the tasks in this process; those marked `ray` run them on Ray, and must end with the same digest.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dataprep.corpus.column_files import read_rows
from dataprep.corpus.reader import CorpusReader
from dataprep.corpus_tools.info import info, open_snapshot, verify
from dataprep.corpus_tools.ink import look_at
from dataprep.corpus_tools.survey import RowPicker
from dataprep.errors import DataError
from dataprep.pictures.decode import decode_png, encode_png
from dataprep.storage.store import upload_directory
from pipelines.common.progress import Progress
from pipelines.corpus_build.build import BuildReport, build_corpus, run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import BROKEN, SMALL, picture, write_broken, write_pictures

PICTURES = 18


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 good pictures, a copy of one, one that is broken and one that is too small."""
    folder = write_pictures(tmp_path_factory.mktemp("source"), PICTURES)
    shutil.copy(folder / "p0003.png", folder / "same.png")
    write_broken(folder)
    (folder / "tiny.png").write_bytes(encode_png(picture(77, 16, 16)))
    return folder


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of an undisturbed build."""
    return build(source, tmp_path_factory.mktemp("expected")).digest


def build(source: Path, out: Path, recipe: BuildRecipe = SMALL) -> BuildReport:
    return run_build([str(source)], str(out), recipe, engine=in_process)


def files_below(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_every_picture_is_a_row_or_a_reject_with_its_reason(source: Path, tmp_path: Path) -> None:
    report = build(source, tmp_path)
    assert (report.snapshot, report.is_new, report.pictures) == (1, True, PICTURES + 3)
    assert sum(report.rows.values()) == PICTURES
    assert report.rejects == {"duplicate-file": 1, "too-small": 1, "unreadable": 1}
    rejects = {Path(row["source"]).name: row for row in open_snapshot(str(tmp_path)).table("rejects").to_pylist()}
    assert "damaged picture" in rejects[BROKEN]["message"]
    assert rejects["tiny.png"]["message"] == "16x16"
    assert len({rejects["same.png"]["id"], rejects["same.png"]["message"]}) == 1
    assert verify(str(tmp_path)) == []


def test_a_column_of_blank_pages_is_warned_of(source: Path, tmp_path: Path, expected: str) -> None:
    report = build(source, tmp_path, replace(SMALL, xdog=replace(SMALL.xdog, epsilon=-0.1)))
    warning = f"sketch_xdog: 100 % of {PICTURES} values looked at are blank: less than 0.1 % ink"
    assert f"  warning: {warning}" in report.summary().splitlines()
    looks = json.loads(json.dumps(report.document()))["looks"]
    assert f"sketch_xdog: {looks['sketch_xdog']['worthless']}" == warning
    assert looks["sketch_xdog"]["ink_50"] == 0.0
    sound = build(source, tmp_path / "sound")
    assert (sound.digest, "warning" in sound.summary()) == (expected, False)
    assert 0.001 < sound.document()["looks"]["sketch_xdog"]["ink_50"] < 0.4


def test_a_look_ends_in_time_and_reads_what_it_reaches(source: Path, tmp_path: Path) -> None:
    build(source, tmp_path)
    snapshot = open_snapshot(str(tmp_path))
    picker, places = RowPicker(snapshot), snapshot.table("index").to_pylist()
    assert look_at(picker, places, snapshot.document["operators"], seconds=0) == []
    seen = {one.column: one.values for one in look_at(picker, places, snapshot.document["operators"])}
    assert seen == {"sketch_xdog": PICTURES, "region_map": PICTURES}  # no picture has line art or alpha of its own
    for file in tmp_path.rglob("sketch_xdog-*.parquet"):
        file.unlink()
    assert [one.column for one in look_at(picker, places, snapshot.document["operators"])] == ["region_map"]


def test_building_again_writes_nothing_and_says_so(source: Path, tmp_path: Path) -> None:
    first = build(source, tmp_path)
    before = files_below(tmp_path)
    again = build(source, tmp_path)
    assert (again.is_new, again.snapshot, again.digest) == (False, 1, first.digest)
    assert (again.pictures_read, again.shard_columns_reused) == (0, again.shard_columns)
    assert files_below(tmp_path) == before
    assert "no new snapshot" in again.summary()


def test_new_pictures_add_files_and_touch_none(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "source")
    build(tmp_path / "source", tmp_path / "out")
    before = files_below(tmp_path / "out")
    write_pictures(tmp_path / "source", 3, first=100)
    report = build(tmp_path / "source", tmp_path / "out")
    after = files_below(tmp_path / "out")
    assert (report.snapshot, report.pictures_read, sum(report.rows.values())) == (2, 3, PICTURES + 3)
    kept = [name for name in before if not name.startswith("rejects/")]  # the same rejects are written again
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert verify(str(tmp_path / "out")) == []


def test_pictures_that_came_in_two_builds_have_the_digest_of_one(source: Path, expected: str, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "source")
    for late in ("p0001.png", "p0011.png", BROKEN):
        (tmp_path / "source" / late).unlink()
    build(tmp_path / "source", tmp_path / "out")
    for late in ("p0001.png", "p0011.png", BROKEN):
        shutil.copy(source / late, tmp_path / "source" / late)
    assert build(tmp_path / "source", tmp_path / "out").digest == expected


def test_a_changed_setting_makes_its_columns_and_no_others(source: Path, tmp_path: Path) -> None:
    build(source, tmp_path)
    before = files_below(tmp_path)
    changed = replace(SMALL, regions=replace(SMALL.regions, threshold=200))
    report = build(source, tmp_path, changed)
    assert set(report.computed) == {"region_map"}
    assert report.pictures_read == 0
    assert report.snapshot == 2
    new = {name for name in files_below(tmp_path) if name not in before and name.startswith("data/")}
    assert all("/region_map-" in name for name in new)
    assert len(new) == report.computed["region_map"]
    assert verify(str(tmp_path)) == []


def test_the_layout_is_not_part_of_the_digest(source: Path, expected: str, tmp_path: Path) -> None:
    assert build(source, tmp_path, replace(SMALL, shard_rows=7)).digest == expected


def test_where_the_pictures_lie_is_not_part_of_the_digest(source: Path, expected: str, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "moved")
    assert build(tmp_path / "moved", tmp_path / "out").digest == expected


def test_a_picture_that_is_replaced_in_place_is_read_again(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "source")
    build(tmp_path / "source", tmp_path / "out")
    (tmp_path / "source" / "p0002.png").write_bytes(encode_png(picture(500)))
    report = build(tmp_path / "source", tmp_path / "out")
    assert (report.snapshot, report.pictures_read, sum(report.rows.values())) == (2, 1, PICTURES)


def test_a_changed_group_changes_the_rows_and_no_derived_column(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 6)
    whole = replace(SMALL, validation_share=0.0)
    for number, tag in enumerate(("first", "second"), 1):
        lines = (json.dumps({"path": f"p{i:04d}.png", "group": "g", "tags": [tag]}) for i in range(6))
        (source / "index.jsonl").write_text("\n".join(lines))
        report = build(source, tmp_path / "out", whole)
        assert report.snapshot == number
    assert set(report.computed) == {"row"}
    assert CorpusReader(str(tmp_path / "out"), "train", []).row(0)["tags"] == ["second"]


def test_each_row_has_what_the_source_says_of_its_own_picture(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 12)
    facts = [{"path": f"p{i:04d}.png", "tags": [f"tag{i}"], "caption": f"p{i:04d}.png"} for i in range(12)]
    (source / "index.jsonl").write_text("\n".join(json.dumps(entry) for entry in facts))
    build(source, tmp_path / "out")
    rows = [
        row for path in (tmp_path / "out").glob("data/*/*/row-*") for row in read_rows(path.read_bytes(), "row", "row")
    ]
    assert len(rows) == 12
    for row in rows:
        data = Path(row["source"]).read_bytes()
        assert row["id"] == hashlib.sha256(data).hexdigest()
        assert row["caption"] == Path(row["source"]).name
        assert row["tags"] == [f"tag{int(row['caption'][1:5])}"]


def test_an_operator_that_fails_on_one_picture_leaves_a_word_and_the_other_rows(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 5)
    (source / "sketch").mkdir()
    (source / "sketch" / "a.png").write_bytes(encode_png(picture(1, 64, 64)))
    entries = [{"path": f"p{i:04d}.png", "sketch": "sketch/a.png" if i == 2 else None} for i in range(5)]
    (source / "index.jsonl").write_text("\n".join(json.dumps(entry) for entry in entries))
    report = build(source, tmp_path / "out")
    assert sum(report.rows.values()) == 5
    assert report.failures == {"sketch_drawn": 1}
    cells = [
        row
        for path in (tmp_path / "out").glob("data/*/*/sketch_drawn-*")
        for row in read_rows(path.read_bytes(), "sketch_drawn", path.name)
    ]
    assert [row["error"] for row in cells if row["error"]] == [
        "wrong-size: the drawn sketch is 64x64, the picture 64x48"
    ]
    assert report.failure_reasons == {"sketch_drawn": {"wrong-size": 1}}
    assert "sketch_drawn 1 (wrong-size 1)" in report.summary()
    assert verify(str(tmp_path / "out")) == []


def test_the_artists_lines_and_the_exact_mask_are_kept_where_the_source_has_them(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 4)
    (source / "lines.png").write_bytes(encode_png(picture(50)[..., 0]))
    entries = [{"path": f"p{i:04d}.png", "sketch": "lines.png"} for i in range(4)]
    (source / "index.jsonl").write_text("\n".join(json.dumps(entry) for entry in entries))
    build(source, tmp_path / "out", replace(SMALL, validation_share=0.0))
    row = CorpusReader(str(tmp_path / "out"), "train", ["sketch_drawn", "mask"]).row(0)
    assert (decode_png(row["sketch_drawn"]) == picture(50)[..., 0]).all()
    assert row["mask"] is None


def test_a_limit_takes_the_first_pictures_and_more_can_follow(source: Path, expected: str, tmp_path: Path) -> None:
    report = run_build([str(source)], str(tmp_path), SMALL, limit=5, engine=in_process)
    assert report.pictures == 5
    assert build(source, tmp_path).digest == expected


def test_progress_counts_pictures_up_to_all_of_them(source: Path, tmp_path: Path) -> None:
    news: list[Progress] = []
    run_build([str(source)], str(tmp_path), SMALL, progress=news.append, engine=in_process)
    for stage, total in (("scan pictures", PICTURES + 3), ("make columns", PICTURES)):
        done = [item.done for item in news if item.stage == stage]
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, total)


def test_a_source_of_nothing_usable_is_refused_before_anything_is_committed(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 1)
    (source / "p0000.png").unlink()
    write_broken(source)
    refusal = r"not one of 1 picture can be used \(unreadable\)\. The first: .*: \w+.* Nothing was written"
    with pytest.raises(DataError, match=refusal):
        build(source, tmp_path / "out")
    with pytest.raises(DataError, match="there is no corpus here"):
        info(str(tmp_path / "out"))


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        build(tmp_path / "nowhere", tmp_path / "out")


# ---- the same on Ray, on S3, on one worker ------------------------------------------------------------------------


@pytest.mark.ray
def test_two_workers_of_ray_make_the_same_corpus(ray_engine: None, source: Path, expected: str, tmp_path: Path) -> None:
    report = run_build([str(source)], str(tmp_path), SMALL)
    assert (report.digest, report.is_new) == (expected, True)
    assert verify(str(tmp_path)) == []
    again = run_build([str(source)], str(tmp_path), SMALL)
    assert (again.is_new, again.shard_columns_reused) == (False, again.shard_columns)


@pytest.mark.ray
@pytest.mark.s3
def test_s3_holds_the_same_corpus_from_the_same_pictures(
    ray_engine: None, source: Path, expected: str, s3_prefix: str
) -> None:
    upload_directory(source, f"{s3_prefix}/source")
    report = run_build([f"{s3_prefix}/source"], f"{s3_prefix}/out", SMALL)
    assert report.digest == expected
    assert info(f"{s3_prefix}/out")["digest"] == expected
    assert verify(f"{s3_prefix}/out") == []
    assert not run_build([f"{s3_prefix}/source"], f"{s3_prefix}/out", SMALL).is_new


@pytest.mark.ray
def test_one_worker_makes_the_same_corpus_quietly(source: Path, expected: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.pipelines.corpus_build.build_process",
        str(source),
        str(tmp_path / "out"),
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == [expected]
    assert done.stderr == ""
    assert (tmp_path / "out.log").exists()


@pytest.mark.ray
def test_a_traced_build_leaves_its_lineage(ray_engine: None, source: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    report = build_corpus(
        [str(source)], str(tmp_path / "out"), SMALL, log_file=tmp_path / "log", tracking_uri=store, limit=8
    )
    assert isinstance(report, BuildReport)
    chain = json.loads((tmp_path / "out" / "lineage.json").read_text())["chain"]
    assert [node["kind"] for node in chain["nodes"]] == ["source", "corpus"]
    assert report.digest[:12] in chain["nodes"][1]["name"]
