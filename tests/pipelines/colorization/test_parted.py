"""Files in, pictures out, with a network that keeps figure and ground apart: its masks, and what they do."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep.lines.layers import line_art_mask
from dataprep.pictures.decode import decode, encode_png
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.colorization.colorize import Failed, Made, colorize
from pipelines.colorization.jobs import MASKS, ColorizeJob, matched, plan_jobs
from pipelines.colorization.masks import hash_of
from pipelines.colorization.picture_settings import PictureSettings
from pipelines.colorization.provenance import extract
from pipelines.colorization.replay import InputAddresses, plan_replay, replay
from pipelines.colorization.run_settings import RunSettings
from pipelines.common.errors import PipelineError
from tests.pipelines.training.untrained import write_parted_checkpoint

SIDE = 96
SAMPLING = SamplingSettings(sampler="ddim", steps=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_parted_checkpoint(tmp_path_factory.mktemp("parted") / "checkpoint")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A sketch of a square, a reference with and without transparency, masks of both, and a background."""
    sketch = np.full((SIDE, SIDE), 255, np.uint8)
    sketch[20:76, [20, 21, 74, 75]] = sketch[[20, 21, 74, 75], 20:76] = 0
    rng = np.random.default_rng(3)
    reference = np.repeat(np.repeat(rng.integers(0, 255, (8, 6, 3), np.uint8), 8, axis=0), 8, axis=1)
    alpha = np.zeros(reference.shape[:2], np.uint8)
    alpha[:, :24] = 255
    left = np.zeros((SIDE, SIDE), np.uint8)
    left[:, : SIDE // 2] = 255
    pictures: Mapping[str, np.ndarray] = {
        "sketch": sketch,
        "reference": reference,
        "cut": np.dstack([reference, alpha]),
        "alpha": alpha,
        "left": left,
        "blank": np.full((64, 48, 3), 255, np.uint8),
        "sky": np.full((40, 50, 3), (90, 160, 250), np.uint8),
    }
    for name, picture in pictures.items():
        (tmp_path / f"{name}.png").write_bytes(encode_png(np.ascontiguousarray(picture)))
    return tmp_path


def job(files: Path, out: str = "x.png", **roles: str) -> ColorizeJob:
    """The sketch after the cut-out reference, or with other files in the roles."""
    references = {role: str(files / f"{name}.png") for role, name in {"reference": "cut", **roles}.items()}
    return ColorizeJob(sketch=str(files / "sketch.png"), references=references, out=str(files / out), seed=0)


def made(asked: ColorizeJob, checkpoint: str, settings: PictureSettings | None = None, **run: Any) -> np.ndarray:
    (outcome,) = colorize([asked], checkpoint, settings or PictureSettings(SAMPLING), RunSettings(device="cpu", **run))
    assert isinstance(outcome, Made), outcome
    return decode(Path(asked.out).read_bytes()).rgb


def parted(**changes: Any) -> PictureSettings:
    sampling = {name: changes.pop(name) for name in list(changes) if hasattr(SAMPLING, name)}
    return PictureSettings(replace(SAMPLING, **sampling), **changes)


def test_masks_come_from_the_lines_and_from_transparency_unless_files_give_them(files: Path, checkpoint: str) -> None:
    usual = made(job(files), checkpoint)
    gray = decode((files / "sketch.png").read_bytes()).rgb[..., 0]
    (files / "lines.png").write_bytes(encode_png(line_art_mask(gray)))
    by_file = made(job(files, "b.png", sketch_mask="lines", reference_mask="alpha"), checkpoint)
    np.testing.assert_array_equal(usual, by_file)
    assert (made(job(files, "c.png", sketch_mask="left"), checkpoint) != usual).any()
    assert (made(job(files, "d.png", background="sky"), checkpoint) != usual).any()
    assert (made(job(files, "e.png"), checkpoint, parted(reference_mask_by="empty")) != usual).any()
    assert (made(job(files, "f.png"), checkpoint, parted(mode="vanilla")) != usual).any()


def test_a_reference_without_transparency_fails_with_what_gives_a_mask(files: Path, checkpoint: str) -> None:
    asked = [job(files, "a.png", reference="reference"), job(files, "b.png")]
    failed, fine = colorize(asked, checkpoint, PictureSettings(SAMPLING), RunSettings(device="cpu"))
    assert isinstance(failed, Failed)
    assert "nothing of it is transparent" in failed.reason
    assert "--reference-mask-by isnetis" in failed.reason
    assert isinstance(fine, Made)
    made(job(files, "c.png", reference="reference", reference_mask="alpha"), checkpoint)


def test_a_network_that_the_store_lacks_is_named_with_how_to_have_it(
    files: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(tmp_path / "store"))
    with pytest.raises(PipelineError, match="irodori weights"):
        made(job(files), checkpoint, parted(reference_mask_by="isnetis"))


def test_a_mask_of_another_shape_is_refused(files: Path, checkpoint: str) -> None:
    (outcome,) = colorize([job(files, reference_mask="left")], checkpoint, PictureSettings(SAMPLING), RunSettings())
    assert isinstance(outcome, Failed)
    assert "is of another shape than its picture's 48x64" in outcome.reason


def test_the_picture_records_its_masks_and_is_made_again_where_they_differ(files: Path, checkpoint: str) -> None:
    asked = job(files, sketch_mask="left")
    made(asked, checkpoint)
    recorded = extract(Path(asked.out).read_bytes(), asked.out)
    assert set(recorded.references) == {"reference", "sketch_mask"}
    assert recorded.masks == {
        "sketch_mask": hash_of(decode((files / "left.png").read_bytes()).rgb[..., 0]),
        "reference_mask": hash_of(decode((files / "alpha.png").read_bytes()).rgb[..., 0]),
    }
    (again,) = colorize([asked], checkpoint, PictureSettings(SAMPLING), RunSettings(device="cpu"))
    assert isinstance(again, Made)
    assert again.already
    (files / "left.png").write_bytes(encode_png(np.full((SIDE, SIDE), 255, np.uint8)))
    (other,) = colorize([asked], checkpoint, PictureSettings(SAMPLING), RunSettings(device="cpu"))
    assert isinstance(other, Made)
    assert not other.already


def test_a_replay_gives_the_same_picture_and_a_changed_mask_is_refused(files: Path, checkpoint: str) -> None:
    asked = job(files, sketch_mask="left", background="sky")
    made(asked, checkpoint)
    out = str(files / "again.png")
    planned = plan_replay(asked.out, out, InputAddresses(follow=True), RunSettings(device="cpu"))
    assert replay(asked.out, *planned, RunSettings(device="cpu")).equal
    (files / "left.png").write_bytes(encode_png(np.zeros((SIDE, SIDE), np.uint8)))
    with pytest.raises(PipelineError, match="the sketch_mask has changed"):
        plan_replay(asked.out, out, InputAddresses(follow=True), RunSettings(device="cpu"))


def test_masks_and_background_are_written_on_request(files: Path, checkpoint: str) -> None:
    asked = job(files, reference="reference", reference_mask="alpha")
    made(asked, checkpoint, masks=True)
    shown = {name: decode(Path(asked.layer(name)).read_bytes()).rgb for name in MASKS}
    np.testing.assert_array_equal(
        shown["reference-mask"][..., 0], decode((files / "alpha.png").read_bytes()).rgb[..., 0]
    )
    reference = decode((files / "reference.png").read_bytes()).rgb
    assert (shown["background"][:, :24] == 255).all(), "the figure is painted white"
    np.testing.assert_allclose(shown["background"][:, 25:], reference[:, 25:], atol=1)
    assert shown["sketch-mask"][48, 48, 0] == 255
    assert shown["sketch-mask"][5, 5, 0] == 0


def test_the_ground_of_the_result_can_be_removed_and_the_figure_of_a_background(files: Path, checkpoint: str) -> None:
    settings = parted(remove_background=True, keep_lines=False)
    result = made(job(files), checkpoint, settings)
    corner = result[:4, :4]
    assert (corner == 255).all()
    assert (result[24:40, 24:40] != 255).any()
    removed = made(job(files, "b.png", background="cut"), checkpoint, parted(remove_foreground=True))
    np.testing.assert_array_equal(removed, made(job(files, "c.png", background="blank"), checkpoint))
    alone = replace(job(files, "d.png"), references={})
    assert (made(alone, checkpoint, settings)[:4, :4] == 255).all(), "without a reference too"
    with pytest.raises(PipelineError, match="remove_foreground is of a background, and none is given"):
        made(job(files), checkpoint, parted(remove_foreground=True))


def test_what_a_mode_or_a_family_has_no_use_for_is_refused(
    files: Path, checkpoint: str, untrained_checkpoint: str
) -> None:
    with pytest.raises(PipelineError, match="mode=vanilla has no use for sketch_mask"):
        made(job(files, sketch_mask="left"), checkpoint, parted(mode="vanilla"))
    for settings in (parted(remove_background=True), parted(sketch_threshold=0.2), parted(sketch_mask_by="alpha")):
        vanilla = replace(settings, sampling=replace(settings.sampling, mode="vanilla"))
        with pytest.raises(PipelineError, match="mode=vanilla has no use for"):
            made(job(files), checkpoint, vanilla)
    with pytest.raises(PipelineError, match="mode=vanilla has no use for masks"):
        made(job(files), checkpoint, parted(mode="vanilla"), masks=True)
    for settings, named in (
        (parted(mode="background"), "mode"),
        (parted(sketch_threshold=0.2), "sketch_threshold"),
        (parted(reference_mask_by="empty"), "reference_mask_by"),
    ):
        with pytest.raises(PipelineError, match=f"a v1 network takes no {named}; these do: v15"):
            made(job(files), untrained_checkpoint, settings)
    with pytest.raises(PipelineError, match="takes no masks; these do: v15"):
        made(job(files), untrained_checkpoint, masks=True)


def test_no_reference_needs_no_masks(files: Path, checkpoint: str) -> None:
    alone = ColorizeJob(sketch=str(files / "sketch.png"), references={}, out=str(files / "x.png"), seed=0)
    made(alone, checkpoint, masks=True)
    assert extract(Path(alone.out).read_bytes(), alone.out).masks == {}
    (again,) = colorize([alone], checkpoint, PictureSettings(SAMPLING), RunSettings(device="cpu", masks=True))
    assert isinstance(again, Made)
    assert again.already
    assert again.layers == ()


def test_a_reference_whose_figure_nothing_asks_for_needs_no_mask(files: Path, checkpoint: str) -> None:
    opaque = job(files, reference="reference")
    made(opaque, checkpoint, parted(mode="foreground"), masks=True)
    assert not Path(opaque.layer("reference-mask")).exists()
    made(job(files, "b.png", reference="reference", background="sky"), checkpoint)


def test_one_file_in_two_roles_has_a_mask_in_each(files: Path, checkpoint: str) -> None:
    both = replace(job(files, reference="cut"), sketch=str(files / "cut.png"))
    made(both, checkpoint, parted(sketch_mask_by="empty", extract="xdog"))
    masks = extract(Path(both.out).read_bytes(), both.out).masks
    assert masks["sketch_mask"] != masks["reference_mask"]
    of_sketches, of_references = {"a.png": {"sketch_mask": "m/a.png"}}, {"a.png": {"reference_mask": "n/a.png"}}
    (planned,) = plan_jobs(["a.png"], ["a.png"], "x.png", [0], beside=(of_sketches, of_references))
    assert planned.references == {"reference": "a.png", "reference_mask": "n/a.png", "sketch_mask": "m/a.png"}


def test_what_is_transparent_in_a_masks_file_is_no_figure(files: Path, checkpoint: str) -> None:
    left = decode((files / "left.png").read_bytes()).rgb
    (files / "cut-left.png").write_bytes(encode_png(np.dstack([np.full_like(left, 255), left[..., 0]])))
    plain = made(job(files, sketch_mask="left"), checkpoint)
    np.testing.assert_array_equal(plain, made(job(files, "b.png", sketch_mask="cut-left"), checkpoint))


@pytest.mark.parametrize(
    "settings",
    [{"low_memory": True}, {"precision": "bf16"}, {"sketch_guidance_scale": 2.0}],
    ids=lambda found: next(iter(found)),
)
def test_it_colours_several_in_a_batch_however_it_runs(files: Path, checkpoint: str, settings: Any) -> None:
    wanted = [job(files, f"{name}.png", **roles) for name, roles in (("a", {}), ("b", {"sketch_mask": "left"}))]
    outcomes = list(colorize(wanted, checkpoint, parted(**settings), RunSettings(device="cpu")))
    assert all(isinstance(outcome, Made) for outcome in outcomes)
    first, second = (decode(Path(one.out).read_bytes()).rgb for one in wanted)
    assert (first != second).any()


def test_masks_are_matched_by_name(files: Path) -> None:
    assert matched(["a/one.png"], ["m/any.png"], "--sketch-mask") == {"a/one.png": "m/any.png"}
    pictures, masks = ["a/one.png", "a/two.jpg"], ["m/two.png", "m/one.png"]
    assert matched(pictures, masks, "--sketch-mask") == {"a/one.png": "m/one.png", "a/two.jpg": "m/two.png"}
    with pytest.raises(PipelineError, match=r"--sketch-mask: none is named like a/three\.png"):
        matched([*pictures, "a/three.png"], masks, "--sketch-mask")
    with pytest.raises(PipelineError, match="--sketch-mask: two are named one"):
        matched(pictures, [*masks, "m/one.jpg"], "--sketch-mask")
    beside = {"s.png": {"sketch_mask": "m.png"}}, {"r.png": {"background": "b.png"}}
    (planned,) = plan_jobs(["s.png"], ["r.png"], "x.png", [0], beside=beside)
    assert planned.references == {"reference": "r.png", "sketch_mask": "m.png", "background": "b.png"}
