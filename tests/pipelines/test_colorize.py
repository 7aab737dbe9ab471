"""Files in, pictures out: every sketch with every reference, each at its own shape, the same for the same seed."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataprep.errors import DataError
from dataprep.pictures import decode, encode_png
from dataprep.storage import upload_directory
from model.errors import ModelError
from model.settings import SamplingSettings
from pipelines.colorize import colorize, read_sketch
from pipelines.colorize_jobs import ColorizeJob, find_pictures, folder_of, plan_jobs
from pipelines.errors import PipelineError
from pipelines.progress import Progress
from tests.corpus_pictures import picture, write_pictures
from tests.pipelines.untrained import write_checkpoint

QUICK = SamplingSettings(steps=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two sketches, two references, a picture one folder deeper and a file that is none."""
    write_pictures(tmp_path / "sketches", 2)
    write_pictures(tmp_path / "references", 2, first=5)
    write_pictures(tmp_path / "sketches" / "deeper", 1, first=9)
    (tmp_path / "sketches" / "notes.txt").write_text("none")
    return tmp_path


def names(addresses: list[str]) -> list[str]:
    return [Path(address).name for address in addresses]


def make(files: Path, checkpoint: str, out: str, **changes: object) -> np.ndarray:
    """One picture with the changes; its pixels."""
    job = ColorizeJob(str(files / "sketches" / "p0000.png"), str(files / "references" / "p0005.png"), out, 0)
    resolution = changes.pop("resolution", None)
    settings = changes.pop("settings", QUICK)
    (made,) = colorize([replace(job, **changes)], checkpoint, resolution, settings)
    return decode(Path(made).read_bytes()).rgb


# ---- which pictures ----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("address", ["nowhere", "nowhere.png", "sketches/notes", "empty"])
def test_an_address_without_pictures_is_refused_by_name(files: Path, address: str) -> None:
    (files / "empty").mkdir()
    with pytest.raises(PipelineError, match=f"{address}: there is no picture"):
        find_pictures([str(files / "sketches"), str(files / address)])


@pytest.mark.s3
def test_a_prefix_on_s3_gives_its_own_pictures(s3_prefix: str, files: Path) -> None:
    upload_directory(files / "sketches", s3_prefix)
    assert names(find_pictures([s3_prefix])) == ["p0000.png", "p0001.png"]
    assert find_pictures([f"{s3_prefix}/p0001.png"]) == [f"{s3_prefix}/p0001.png"]


def test_every_sketch_meets_every_reference() -> None:
    jobs = plan_jobs(["a/s.png", "t.jpg"], ["r.png", "q.webp"], "out", 7)
    assert [(job.sketch, job.reference) for job in jobs] == [
        ("a/s.png", "r.png"),
        ("a/s.png", "q.webp"),
        ("t.jpg", "r.png"),
        ("t.jpg", "q.webp"),
    ]
    assert [job.out for job in jobs] == ["out/s--r.png", "out/s--q.png", "out/t--r.png", "out/t--q.png"]
    assert {job.seed for job in jobs} == {7}


def test_no_two_pictures_go_to_one_name() -> None:
    sketches = ["1/a.png", "2/a.png", "3/a.png", "4/a--r-2.png"]
    outs = [job.out for job in plan_jobs(sketches, ["r.png", "r-2.png", "x/r.png"], "out", 0)]
    assert len(set(outs)) == len(outs) == 12


def test_one_picture_may_go_to_a_file_or_to_a_directory() -> None:
    assert plan_jobs(["s.png"], ["r.png"], "made/x.PNG", 0)[0].out == "made/x.PNG"
    assert plan_jobs(["s.png"], ["r.png"], "made", 0)[0].out == "made/s--r.png"
    assert [folder_of(out) for out in ("made/x.png", "x.png", "runs/v1.0")] == ["made", ".", "runs/v1.0"]


@pytest.mark.parametrize(("sketches", "out"), [(1, "x.jpg"), (2, "x.png"), (2, "x.webp")])
def test_a_file_that_cannot_take_the_pictures_is_refused(sketches: int, out: str) -> None:
    with pytest.raises(PipelineError, match=f"--out {out}"):
        plan_jobs(["s.png"] * sketches, ["r.png"], out, 0)


# ---- the pictures ------------------------------------------------------------------------------------------------


def test_each_picture_is_made_where_the_plan_says_and_told(files: Path, checkpoint: str) -> None:
    sketches, references = (find_pictures([str(files / name)]) for name in ("sketches", "references"))
    jobs = plan_jobs(sketches, references, str(files / "out"), 0)
    news: list[Progress] = []
    made = list(colorize(jobs, checkpoint, None, QUICK, news.append))
    assert made == [job.out for job in jobs]
    assert all(decode(Path(path).read_bytes()).rgb.shape == (48, 64, 3) for path in made)
    assert [item.done for item in news] == [0, 1, 2, 3, 4]


def test_the_same_seed_gives_the_same_picture_and_another_gives_another(files: Path, checkpoint: str) -> None:
    first, again, other = (make(files, checkpoint, str(files / "x.png"), seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 1


def test_a_picture_is_the_same_alone_and_among_others(files: Path, checkpoint: str) -> None:
    alone = make(files, checkpoint, str(files / "x.png"))
    sketches, references = (find_pictures([str(files / name)]) for name in ("sketches", "references"))
    made = list(colorize(plan_jobs(sketches, references, str(files / "out"), 0), checkpoint, None, QUICK))
    np.testing.assert_array_equal(decode(Path(made[0]).read_bytes()).rgb, alone)


@pytest.mark.parametrize("changed", ["sketch", "reference", "settings"])
def test_sketch_reference_and_guidance_all_matter(files: Path, checkpoint: str, changed: str) -> None:
    value: object = SamplingSettings(steps=2, guidance_scale=6.0)
    if changed != "settings":
        value = str(files / "changed.png")
        (files / "changed.png").write_bytes(encode_png(255 - picture(0)))
    before = make(files, checkpoint, str(files / "x.png"))
    after = make(files, checkpoint, str(files / "y.png"), **{changed: value})
    assert not np.array_equal(before, after)


@pytest.mark.parametrize(("side", "shape"), [((64, 48), (43, 64)), ((40, 200), (27, 40)), ((200, 40), (40, 60))])
def test_a_picture_fits_the_resolution_and_keeps_its_shape(
    files: Path, checkpoint: str, side: tuple[int, int], shape: tuple[int, int]
) -> None:
    """60x40 pixels inside the box, whatever the networks' multiples are."""
    (files / "wide.png").write_bytes(encode_png(picture(1, 40, 60)))
    made = make(files, checkpoint, str(files / "x.png"), sketch=str(files / "wide.png"), resolution=side)
    assert made.shape == (*shape, 3)


def test_a_sketch_on_transparent_paper_is_black_on_white(tmp_path: Path) -> None:
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[3, :, 3] = 255
    (tmp_path / "ink.png").write_bytes(cv2.imencode(".png", ink)[1].tobytes())
    sketch = read_sketch(str(tmp_path / "ink.png"))
    assert sketch.dtype == np.uint8
    np.testing.assert_array_equal(sketch, np.where(np.arange(8)[:, None] == 3, 0, 255) * np.ones((1, 8)))


def test_an_unreadable_picture_is_named(files: Path, checkpoint: str) -> None:
    (files / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png"):
        make(files, checkpoint, str(files / "x.png"), reference=str(files / "bad.png"))


def test_a_checkpoint_of_another_family_is_refused(files: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", family="xl")
    with pytest.raises(ModelError, match="family 'xl'"):
        make(files, other, str(files / "x.png"))


def test_networks_that_do_not_ship_are_asked_for_by_name(files: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", codec="sd-vae")
    with pytest.raises(PipelineError, match="IRODORI_WEIGHTS"):
        make(files, other, str(files / "x.png"))
