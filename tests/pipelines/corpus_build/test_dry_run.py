"""A dry run says for each column how many rows a build would compute and why, and that build then does just this."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep.operators.operator import Operator
from dataprep.pictures.decode import encode_png
from pipelines.corpus_build.build import BuildReport, DryRun, build_corpus, plan_build, run_build
from pipelines.corpus_build.dry_run import ColumnWork, changes
from pipelines.execution.ray_data import in_process
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import SMALL, picture, write_broken, write_pictures

PICTURES = 18
COLUMNS = {"row", "color", "sketch_xdog", "sketch_drawn", "mask", "region_map"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "source", PICTURES)


def build(source: Path, recipe: BuildRecipe = SMALL) -> BuildReport:
    return run_build([str(source)], str(source.parent / "out"), recipe, engine=in_process)


def plan(source: Path, recipe: BuildRecipe = SMALL) -> DryRun:
    return plan_build([str(source)], str(source.parent / "out"), recipe)


def whys(planned: DryRun) -> dict[str, dict[str, int]]:
    return {column: dict(work.why or {}) for column, work in planned.columns.items() if work.compute}


def check(planned: DryRun, report: BuildReport) -> None:
    """The build did what was planned, cell for cell."""
    assert {column: work.compute for column, work in planned.columns.items() if work.compute} == report.cells


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_before_the_first_build_every_picture_is_new_and_nothing_is_written(source: Path) -> None:
    write_broken(source)
    planned = build_corpus([str(source)], str(source.parent / "out"), SMALL, dry_run=True)
    assert isinstance(planned, DryRun)
    assert not (source.parent / "out").exists()
    assert (planned.pictures, planned.to_read, planned.columns) == (PICTURES + 1, {"new": PICTURES + 1}, {})
    assert f"at most {PICTURES + 1} rows more in every column" in planned.summary()
    assert '"shard_rows": 4' in planned.summary()


def test_of_an_unchanged_corpus_everything_is_carried_over(source: Path) -> None:
    build(source)
    before = files(source.parent)
    planned = plan(source)
    assert planned.columns == {column: ColumnWork(0, PICTURES, 0, {}) for column in COLUMNS}
    assert "everything is there" in planned.summary()
    assert files(source.parent) == before


def test_a_changed_setting_is_named_with_both_values_and_so_is_what_it_drags_along(source: Path) -> None:
    build(source)
    changed = replace(SMALL, xdog=replace(SMALL.xdog, epsilon=0.25))
    planned = plan(source, changed)
    assert whys(planned) == {
        "sketch_xdog": {f"settings: epsilon {json.dumps(SMALL.xdog.epsilon)} -> 0.25": PICTURES},
        "region_map": {"input column sketch_xdog changed": PICTURES},
    }
    assert f"epsilon {SMALL.xdog.epsilon} -> 0.25 ({PICTURES})" in planned.summary()
    check(planned, build(source, changed))


def test_another_share_of_validation_pictures_moves_rows_between_shards(source: Path) -> None:
    build(source)
    changed = replace(SMALL, validation_share=0.6)
    planned = plan(source, changed)
    assert planned.columns["row"].why is not None
    assert planned.columns["color"].why is not None
    assert "moved into another shard" in planned.columns["color"].why
    check(planned, build(source, changed))


def test_a_removed_picture_moves_the_rows_of_its_shard_alone(source: Path) -> None:
    build(source)
    (source / "p0003.png").unlink()
    planned = plan(source)
    assert planned.leaving == 1
    assert planned.columns["color"].why is not None
    assert set(planned.columns["color"].why) == {"moved into another shard"}
    assert 0 < planned.columns["color"].compute < SMALL.shard_rows
    check(planned, build(source))


def test_unread_pictures_are_an_upper_bound_beside_what_is_known(source: Path) -> None:
    build(source)
    write_pictures(source, 3, first=100)
    shutil.copy(source / "p0000.png", source / "same.png")
    planned = plan(source)
    assert (planned.to_read, planned.rows) == ({"new": 4}, PICTURES)
    assert planned.columns["color"] == ColumnWork(0, PICTURES, 0, {})
    report = build(source)
    assert report.cells["color"] == 3 <= planned.unread


def test_pictures_that_were_read_by_a_build_that_did_not_end_are_counted_exactly(source: Path) -> None:
    build(source)
    write_pictures(source, 3, first=100)

    def dies(work: Any, tasks: Any) -> Any:
        yield from [work(task) for task in tasks if "items" in task or "suffix" in task]
        if any("files" in task for task in tasks):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run_build([str(source)], str(source.parent / "out"), SMALL, engine=dies)
    planned = plan(source)
    assert (planned.unread, planned.rows) == (0, PICTURES + 3)
    assert planned.columns["color"].why == {"new pictures": 3}
    check(planned, build(source))


def test_a_lost_file_is_made_again_and_one_left_by_an_unfinished_build_is_taken_over(source: Path) -> None:
    build(source)
    out = source.parent / "out"
    lost = sorted(out.glob("data/*/*/mask-*"))[0]
    lost.unlink()
    planned = plan(source)
    assert whys(planned) == {"mask": {"its file is missing or cut": planned.columns["mask"].compute}}
    check(planned, build(source))
    shutil.rmtree(out / "snapshots")
    planned = plan(source)
    assert {column: work.take_over for column, work in planned.columns.items()} == dict.fromkeys(COLUMNS, PICTURES)
    check(planned, build(source))


def test_new_tags_change_the_rows_and_no_derived_column(source: Path) -> None:
    for tag in ("first", "second"):
        lines = [json.dumps({"path": f"p{i:04d}.png", "tags": [tag]}) for i in range(PICTURES)]
        (source / "index.jsonl").write_text("\n".join(lines))
        planned = plan(source)
        report = build(source)
    assert whys(planned) == {"row": {"what the sources say changed": PICTURES}}
    check(planned, report)


def test_what_the_selection_leaves_out_is_counted_by_its_rule(source: Path) -> None:
    lines = [json.dumps({"path": f"p{i:04d}.png", "tags": ["comic"] if i < 5 else []}) for i in range(PICTURES)]
    (source / "index.jsonl").write_text("\n".join(lines))
    recipe = replace(SMALL, select=replace(SMALL.select, no_tags=("comic",)))
    planned, report = plan(source, recipe), build(source, recipe)
    assert sum(planned.not_selected.values()) == 5
    assert planned.not_selected == report.not_selected
    assert "not selected: 5 pictures" in report.summary()
    assert planned.pictures == report.pictures == PICTURES - 5


def test_what_is_not_taken_or_not_whole_is_counted_by_kind(source: Path) -> None:
    for name in ("a.heic", "b.heic", "notes.txt", "Thumbs.db", "__MACOSX/._a.png"):
        path = source / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    hidden = np.dstack([picture(70), np.zeros(picture(70).shape[:2], np.uint8)])
    (source / "hidden.png").write_bytes(encode_png(hidden))
    planned, report = plan(source), build(source)
    assert (planned.not_taken, planned.litter) == (report.not_taken, report.litter) == ({".heic": 2, ".txt": 1}, 2)
    assert report.notes == {"alpha": 1}
    assert report.document().items() >= {"not_taken": report.not_taken, "litter": 2, "notes": {"alpha": 1}}.items()
    for line in ("not taken: 3 files (.heic 2, .txt 1)", "passed over: 2 files that systems and tools leave behind"):
        assert line in report.summary()
        assert line in planned.summary()
    assert "taken without what cannot be read or drawn (alpha 1)" in report.summary()


def test_the_document_is_json_and_holds_what_the_summary_says(source: Path) -> None:
    build(source)
    write_pictures(source, 2, first=100)
    document = json.loads(json.dumps(plan(source).document()))
    assert (document["unread"], document["to_read"]) == (2, {"new": 2})
    assert document["columns"]["color"] == {"compute": 0, "carry_over": PICTURES, "take_over": 0, "why": {}}
    assert document["recipe"] == json.loads(json.dumps(asdict(SMALL)))


def test_the_report_of_a_build_is_json(source: Path) -> None:
    document = json.loads(json.dumps(build(source).document()))
    assert document["cells"] == dict.fromkeys(COLUMNS, PICTURES)
    assert document["underfilled"]["train"]


# ---- changes: what two descriptions of an operator have apart --------------------------------------------------------


def described(**changed: Any) -> dict[str, Any]:
    operator = Operator("sketch_net", "net", 1, lambda row: None, {"size": 512}, "aaaa")
    return {"sketch_net": replace(operator, **changed).describe()}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"version": 2}, ["version 1 -> 2"]),
        ({"weights": "bbbb"}, ["weights aaaa -> bbbb"]),
        ({"name": "other"}, ["operator net -> other"]),
        ({"settings": {"size": 768}}, ["settings: size 512 -> 768"]),
        ({"settings": {"size": 512, "blur": True}}, ["settings: blur none -> true"]),
        ({"settings": {}, "version": 3}, ["version 1 -> 3", "settings: size 512 -> none"]),
        ({"inputs": (Operator("mask", "alpha", 1, lambda row: None),)}, ["inputs none -> mask"]),
    ],
)
def test_a_change_is_told_in_the_terms_of_the_operator(changed: dict[str, Any], told: list[str]) -> None:
    assert changes(described(**changed), described(), "sketch_net") == told


def test_a_column_that_no_snapshot_knows_is_new() -> None:
    assert changes(described(), {}, "sketch_net") == ["new column"]
