"""Which pictures a call is about: what is found, what goes where, and what is never overwritten."""

import shutil
from pathlib import Path

import pytest

from dataprep.pictures.decode import encode_png
from dataprep.storage.store import upload_directory
from pipelines.colorization.jobs import ColorizeJob, find_pictures, folder_of, plan_jobs
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from tests.corpus_pictures import picture
from tests.pipelines.colorization.colorize_files import names, sketches_and_references


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return sketches_and_references(tmp_path)


def test_a_directory_gives_its_own_pictures_and_not_those_below(files: Path) -> None:
    assert names(find_pictures([str(files / "sketches")])) == ["p0000.png", "p0001.png"]


def test_files_and_directories_come_in_the_order_of_the_call(files: Path) -> None:
    one = str(files / "references" / "p0006.png")
    assert names(find_pictures([one, str(files / "sketches")])) == ["p0006.png", "p0000.png", "p0001.png"]


@pytest.mark.parametrize("address", [".", "./sketches/..", "sketches/../"])
def test_a_relative_directory_is_read_too(files: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    (files / "here.PNG").write_bytes(encode_png(picture(1)))
    assert names(find_pictures([address])) == ["here.PNG"]


@pytest.mark.parametrize(
    ("address", "what"),
    [("nowhere", "such file or folder"), ("nowhere.png", "such file or folder"), ("empty", "picture")],
)
def test_an_address_without_pictures_is_refused_by_name(files: Path, address: str, what: str) -> None:
    (files / "empty").mkdir()
    with pytest.raises(PipelineError, match=f"{address}: there is no {what}"):
        find_pictures([str(files / "sketches"), str(files / address)])


def test_files_that_are_no_pictures_are_reported_with_their_endings(files: Path) -> None:
    for name in ("a.heic", "b.HEIC", "c.clip", ".hidden"):
        (files / "sketches" / name).write_bytes(b"scan")
    reported: list[str] = []
    assert len(find_pictures([str(files / "sketches"), str(files / "references")], reported.append)) == 4
    (line,) = reported
    assert line.startswith(f"{files / 'sketches'}: 2 pictures, 4 passed over (.clip, .heic, .txt)")
    (files / "scans").mkdir()
    (files / "scans" / "a.jxl").write_bytes(b"scan")
    with pytest.raises(PipelineError, match=r"scans: there is no picture .*1 passed over \(\.jxl\)"):
        find_pictures([str(files / "scans")])


def test_a_directory_is_read_in_the_order_in_which_people_number(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        for name in (f"{number}.png", f"Ref_{number}.png"):
            (tmp_path / name).write_bytes(b"")
    found = names(find_pictures([str(tmp_path)]))
    assert found == ["1.png", "2.png", "10.png", "Ref_1.png", "Ref_2.png", "Ref_10.png"]


def test_results_and_their_layers_are_passed_over_where_asked_for(files: Path) -> None:
    kept = Path(__file__).parents[2] / "assets" / "written_by_0_1" / "coloured" / "result.png"
    shutil.copy(kept, files / "sketches" / "p0000--ref.png")
    (files / "sketches" / "p0002.png").write_bytes(b"not readable")
    reported: list[str] = []
    found = find_pictures([str(files / "sketches")], reported.append, lambda _: True)
    assert names(found) == ["p0000.png", "p0001.png", "p0002.png"]
    assert "2 passed over (.txt, made by irodori)" in reported[0]
    assert len(find_pictures([str(files / "sketches")])) == 4


@pytest.mark.s3
def test_a_prefix_on_s3_gives_its_own_pictures(s3_prefix: str, files: Path) -> None:
    upload_directory(files / "sketches", s3_prefix)
    assert names(find_pictures([s3_prefix])) == ["p0000.png", "p0001.png"]
    assert find_pictures([f"{s3_prefix}/p0001.png"]) == [f"{s3_prefix}/p0001.png"]


def test_every_sketch_meets_every_reference() -> None:
    jobs = plan_jobs(["a/s.png", "t.jpg"], ["r.png", "q.webp"], "out", [7])
    assert [job.inputs for job in jobs] == [
        ("a/s.png", "r.png"),
        ("a/s.png", "q.webp"),
        ("t.jpg", "r.png"),
        ("t.jpg", "q.webp"),
    ]
    assert {role for job in jobs for role in job.references} == {"reference"}
    assert [job.out for job in jobs] == ["out/s--r.png", "out/s--q.png", "out/t--r.png", "out/t--q.png"]
    assert {job.seed for job in jobs} == {7}


def test_no_two_pictures_go_to_one_name() -> None:
    sketches = ["1/a.png", "2/a.png", "3/a.png", "4/a--r-2.png"]
    outs = [job.out for job in plan_jobs(sketches, ["r.png", "r-2.png", "x/r.png"], "out", [0])]
    assert len(set(outs)) == len(outs) == 12


def test_one_picture_may_go_to_a_file_or_to_a_directory() -> None:
    assert plan_jobs(["s.png"], ["r.png"], "made/x.PNG", [0])[0].out == "made/x.PNG"
    assert plan_jobs(["s.png"], ["r.png"], "made", [0])[0].out == "made/s--r.png"
    assert [folder_of(out) for out in ("made/x.png", "x.png", "runs/v1.0")] == ["made", ".", "runs/v1.0"]


@pytest.mark.parametrize(("sketches", "out"), [(1, "x.jpg"), (2, "x.png"), (2, "x.webp")])
def test_a_file_that_cannot_take_the_pictures_is_refused(sketches: int, out: str) -> None:
    with pytest.raises(SettingsError, match=f"--out {out}"):
        plan_jobs(["s.png"] * sketches, ["r.png"], out, [0])


def test_pairs_go_the_nth_with_the_nth() -> None:
    jobs = plan_jobs(["a.png", "b.png"], ["r.png", "q.png"], "out", [0], pair=True)
    assert [job.inputs for job in jobs] == [("a.png", "r.png"), ("b.png", "q.png")]
    with pytest.raises(SettingsError, match="2 and 1"):
        plan_jobs(["a.png", "b.png"], ["r.png"], "out", [0], pair=True)


def test_without_references_each_sketch_is_coloured_once() -> None:
    jobs = plan_jobs(["a.png", "b.png"], [], "out", [0])
    assert [(job.references, job.out) for job in jobs] == [({}, "out/a.png"), ({}, "out/b.png")]


def test_variations_are_named_for_their_seeds() -> None:
    jobs = plan_jobs(["a.png"], ["r.png"], "out", [7, 8])
    assert [(job.seed, job.out) for job in jobs] == [(7, "out/a--r--7.png"), (8, "out/a--r--8.png")]
    with pytest.raises(SettingsError, match="a directory for 2 pictures"):
        plan_jobs(["a.png"], ["r.png"], "out.png", [7, 8])


def test_pictures_of_drawn_seeds_are_named_for_them_even_alone() -> None:
    assert plan_jobs(["a.png"], ["r.png"], "out", [7], drawn=True)[0].out == "out/a--r--7.png"
    assert plan_jobs(["a.png"], ["r.png"], "x.png", [7], drawn=True)[0].out == "x.png"


def test_no_layer_goes_where_a_picture_goes() -> None:
    jobs = plan_jobs(["a.png", "a-color.png"], [], "out", [0])
    files = [name for job in jobs for name in (job.out, *map(job.layer, ("color", "lines", "mask")))]
    assert len(set(files)) == len(files) == 8


@pytest.mark.parametrize(
    ("sketches", "references", "out"),
    [
        (["w/a.png"], [], "w"),
        (["w/a.png"], [], "w/a.png"),
        (["w/a.png"], [], "./x/../w"),
        (["w/a.png"], [], "link"),
        (["x/a.png"], ["w/a.png"], "w/a.png"),
        (["x/a.png", "w/a-lines.png"], [], "w"),
        (["w/a--r-2-color.png", "x/a.png", "x/a.png"], ["y/r.png"], "w"),
        (["s3://b/w/a.png"], [], "s3://b/w/"),
    ],
)
def test_no_result_goes_where_a_sketch_or_reference_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sketches: list[str], references: list[str], out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w").mkdir()
    (tmp_path / "link").symlink_to("w")
    with pytest.raises(PipelineError, match="would overwrite this sketch or reference"):
        plan_jobs(sketches, references, out, [0])
    assert plan_jobs(sketches, references, "elsewhere", [0])


def test_a_document_keeps_its_keys_and_names_other_roles_behind_the_reference() -> None:
    alone = ColorizeJob(sketch="a.png", out="x.png", seed=3)
    assert list(alone.document().items()) == [("sketch", "a.png"), ("reference", None), ("out", "x.png"), ("seed", 3)]
    after = ColorizeJob(sketch="a.png", references={"reference": "r.png", "background": "b.png"}, out="x.png", seed=3)
    assert after.document() == alone.document() | {"reference": "r.png", "references": {"background": "b.png"}}
