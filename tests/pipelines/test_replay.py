"""A picture is made again from what it tells; where anything has changed, nothing is made and one line says what."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataprep.pictures import decode, encode_png
from model.settings import SamplingSettings
from pipelines.colorize import Made, colorize
from pipelines.colorize_jobs import ColorizeJob, RunSettings
from pipelines.errors import PipelineError
from pipelines.picture_settings import PictureSettings
from pipelines.provenance import embed, extract
from pipelines.replay import Moved, Replayed, plan_replay, replay
from tests.corpus_pictures import picture, write_pictures
from tests.pipelines.untrained import write_checkpoint

RUN = RunSettings(device="cpu")
SETTINGS = PictureSettings(SamplingSettings(sampler="euler_a", steps=2), size="48x64", keep_lines=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint")


@pytest.fixture
def desk(tmp_path: Path, checkpoint: str) -> Path:
    """p0000.png coloured after p0001.png, with noise on the way: made.png."""
    write_pictures(tmp_path, 2)
    asked = ColorizeJob(str(tmp_path / "p0000.png"), str(tmp_path / "p0001.png"), str(tmp_path / "made.png"), 5)
    (outcome,) = colorize([asked], checkpoint, SETTINGS, RUN)
    assert isinstance(outcome, Made)
    return tmp_path


def again(desk: Path, **moved: str) -> Replayed:
    made = str(desk / "made.png")
    job, told = plan_replay(made, str(desk / "again.png"), Moved(**moved))
    return replay(made, job, told, RUN)


def test_a_replay_has_the_same_pixels_and_tells_the_same(desk: Path) -> None:
    replayed = again(desk)
    assert (replayed.equal, replayed.largest, replayed.share) == (True, 0, 0.0)
    made, new = ((desk / name).read_bytes() for name in ("made.png", "again.png"))
    np.testing.assert_array_equal(decode(made).rgb, decode(new).rgb)
    assert extract(new, "again.png") == replace(extract(made, "made.png"), code_version=extract(new, "").code_version)


def test_pixels_that_were_changed_since_are_counted(desk: Path) -> None:
    data = (desk / "made.png").read_bytes()
    pixels = decode(data).rgb.copy()
    pixels[:4, 0] ^= 16
    (desk / "made.png").write_bytes(embed(encode_png(pixels), extract(data, "")))
    replayed = again(desk)
    assert (replayed.equal, replayed.largest) == (False, 16)
    assert replayed.share == pytest.approx(4 / pixels[..., 0].size)


@pytest.mark.parametrize(("name", "kind"), [("p0000.png", "sketch"), ("p0001.png", "reference")])
def test_an_input_that_changed_is_named_and_nothing_is_made(desk: Path, name: str, kind: str) -> None:
    (desk / name).write_bytes(encode_png(picture(7)))
    with pytest.raises(PipelineError, match=rf"{name}: the {kind} has changed since .*made\.png was made"):
        again(desk)
    assert not (desk / "again.png").exists()


def test_another_checkpoint_is_named(desk: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", seed=1)
    with pytest.raises(PipelineError, match="other: the checkpoint has changed"):
        again(desk, checkpoint=other)


def test_files_that_moved_may_be_named_and_must_be_the_same(desk: Path, checkpoint: str) -> None:
    (desk / "p0000.png").rename(desk / "moved.png")
    shutil.copytree(checkpoint, desk / "copy")
    assert again(desk, sketch=str(desk / "moved.png"), checkpoint=str(desk / "copy")).equal
    with pytest.raises(PipelineError, match="the sketch has changed"):
        again(desk, sketch=str(desk / "p0001.png"))


def test_a_replay_never_overwrites_what_it_repeats(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    with pytest.raises(PipelineError, match="give another file"):
        plan_replay("made.png", str(desk / "made.png"), Moved())
