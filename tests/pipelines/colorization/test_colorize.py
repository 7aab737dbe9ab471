"""Files in, pictures out: every sketch with every reference, each at its own shape, the same for the same seed."""

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import dataprep
from dataprep.errors import DataError
from dataprep.limits import LimitSettings
from dataprep.pictures import guarded
from dataprep.pictures.decode import decode, decode_rgba, encode_png
from dataprep.samples.sample import REFERENCE_SIDE, SampleSettings, model_reference, reference_picture
from dataprep.storage.store import upload_directory
from model.diffusion.pipeline import ColorizationPipeline
from model.diffusion.sampling_settings import InjectionSettings, SamplingSettings
from model.errors import ModelError
from model.frozen.image_encoder import load_image_encoder
from model.weights.reading import sha256
from pipelines.colorization.colorize import COLOURED, Colorist, Failed, Made, advice_on_memory, colorize, find_device
from pipelines.colorization.jobs import ColorizeJob, check_targets, find_pictures, plan_jobs
from pipelines.colorization.picture_settings import MOST_SEED, PictureSettings
from pipelines.colorization.provenance import embed, extract
from pipelines.colorization.run_settings import RunSettings
from pipelines.common.errors import PipelineError
from pipelines.common.progress import Progress
from tests.color_profiles import exchanged_profile
from tests.corpus_pictures import picture
from tests.dataprep.pictures.test_guarded import slow_drawing
from tests.faults import Survived
from tests.pipelines.colorization.colorize_files import names, sketches_and_references
from tests.pipelines.training.untrained import write_checkpoint

SHIPPED = Path(dataprep.__file__).parent / "assets" / "pictures"
QUICK = PictureSettings(SamplingSettings(steps=2))


@pytest.fixture(scope="module")
def checkpoint(untrained_checkpoint: str) -> str:
    return untrained_checkpoint


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return sketches_and_references(tmp_path)


def job(files: Path, out: str = "x.png", *, reference: str | None = "", **changes: Any) -> ColorizeJob:
    """The first sketch after the first reference, or another, or none, with the changes."""
    sketch, first = str(files / "sketches" / "p0000.png"), str(files / "references" / "p0005.png")
    references = {} if reference is None else {"reference": reference or first}
    return ColorizeJob(**{"sketch": sketch, "references": references, "out": str(files / out), "seed": 0, **changes})


def make(
    jobs: Sequence[ColorizeJob] | ColorizeJob, checkpoint: str, settings: PictureSettings = QUICK, **run: Any
) -> list[np.ndarray]:
    """The pixels of all pictures, which must be made afresh."""
    jobs = [jobs] if isinstance(jobs, ColorizeJob) else jobs
    made = {o.job: o for o in colorize(jobs, checkpoint, settings, RunSettings(**{"device": "cpu", **run}))}
    assert all(isinstance(outcome, Made) and not outcome.already for outcome in made.values())
    return [decode(Path(one.out).read_bytes()).rgb for one in jobs]


# ---- the pictures ------------------------------------------------------------------------------------------------


def all_jobs(files: Path, seeds: Sequence[int] = (0,), out: str = "out") -> list[ColorizeJob]:
    sketches, references = (find_pictures([str(files / name)]) for name in ("sketches", "references"))
    return plan_jobs(sketches, references, str(files / out), seeds)


def test_each_picture_is_made_where_the_plan_says_and_reported(files: Path, checkpoint: str) -> None:
    jobs, news = all_jobs(files, (0, 1)), list[Progress]()
    made = list(colorize(jobs, checkpoint, QUICK, RunSettings(batch_size=3), news.append))
    assert sorted(outcome.job.out for outcome in made) == sorted(job.out for job in jobs)
    assert [item.done for item in news] == list(range(9))
    for outcome in made:
        assert isinstance(outcome, Made)
        assert decode(Path(outcome.job.out).read_bytes()).rgb.shape == (outcome.height, outcome.width, 3)


def test_another_seed_gives_another_picture(files: Path, checkpoint: str) -> None:
    first, other = make([job(files, f"{seed}.png", seed=seed) for seed in (3, 4)], checkpoint)
    assert np.abs(first.astype(int) - other).mean() > 1


def test_a_picture_is_the_same_alone_and_among_others(files: Path, checkpoint: str) -> None:
    (alone,) = make(job(files), checkpoint)
    among = make(all_jobs(files, (1, 0)), checkpoint, batch_size=3)[1]
    assert np.abs(alone.astype(int) - among).max() <= 2


@pytest.mark.parametrize(
    "changed", ["sketch", "reference", "no reference", "guidance", "padding", "injection", "precision", "vae"]
)
def test_all_that_is_asked_for_matters(files: Path, checkpoint: str, changed: str) -> None:
    (files / "changed.png").write_bytes(encode_png(255 - picture(0)))
    inputs: dict[str, dict[str, Any]] = {
        "sketch": {"sketch": str(files / "changed.png")},
        "reference": {"reference": str(files / "changed.png")},
        "no reference": {"reference": None},
    }
    settings = {
        "guidance": PictureSettings(SamplingSettings(steps=2, guidance_scale=6.0)),
        "padding": PictureSettings(SamplingSettings(steps=2, reference_padding=1.5)),
        "injection": PictureSettings(SamplingSettings(steps=2, injection=InjectionSettings(start=0.0))),
        "precision": PictureSettings(SamplingSettings(steps=2), precision="bf16"),
        "vae": PictureSettings(SamplingSettings(steps=2), vae_precision="bf16"),
    }
    (before,) = make(job(files), checkpoint)
    (after,) = make(job(files, "y.png", **inputs.get(changed, {})), checkpoint, settings.get(changed, QUICK))
    assert before.shape == after.shape
    assert not np.array_equal(before, after)


def test_injection_that_never_starts_changes_nothing(files: Path, checkpoint: str) -> None:
    late = PictureSettings(SamplingSettings(steps=2, injection=InjectionSettings(start=1.0)))
    (before,), (after,) = (make(job(files, f"{n}.png"), checkpoint, s) for n, s in enumerate((QUICK, late)))
    assert np.abs(before.astype(int) - after).max() <= 1


def test_a_little_padding_changes_little(files: Path, checkpoint: str) -> None:
    (files / "large.png").write_bytes(encode_png(picture(5, 900, 1200)))

    def made(padding: float) -> np.ndarray:
        settings = PictureSettings(SamplingSettings(steps=2, reference_padding=padding))
        asked = job(files, f"{padding}.png", reference=str(files / "large.png"))
        return make(asked, checkpoint, settings)[0].astype(int)

    none, little, much = made(1.0), made(1.001), made(1.5)
    assert 0 < np.abs(little - none).mean() < np.abs(much - none).mean() / 10


@torch.no_grad()
@pytest.mark.parametrize("name", ["bg-club.jpg", "eileen-happy.webp", "large", "tall", "small"])
def test_the_network_sees_a_reference_as_in_training(name: str) -> None:
    """Shipped pictures, and made ones: larger than a pipeline takes, shrinking and growing at once, growing."""
    rgb, encoder = _reference_rgb(name), load_image_encoder("tiny")
    side = encoder.config.image_size
    trained = torch.from_numpy(model_reference(rgb, SampleSettings(reference_size=side)))[None]
    handed = torch.from_numpy(reference_picture(rgb))[None]
    levels = (encoder.squash(handed, side) - trained).abs() * 127.5
    assert levels.mean() < 0.5
    assert levels.max() <= (1.5 if max(rgb.shape) <= REFERENCE_SIDE else 3)
    tokens = encoder.encode(trained)
    assert (encoder.encode(handed) - tokens).norm() < 0.02 * tokens.norm()


def _reference_rgb(name: str) -> np.ndarray:
    sizes = {"large": (1300, 2100), "tall": (700, 40), "small": (20, 33)}
    if name in sizes:
        return picture(3, *sizes[name])
    (path,) = SHIPPED.rglob(name)
    return decode(path.read_bytes()).rgb


@pytest.mark.parametrize(
    ("size", "shape"), [("64x48", (43, 64)), ("40x200", (27, 40)), ("original", (40, 60)), ("autofit", (52, 78))]
)
def test_a_picture_keeps_the_shape_of_its_sketch(
    files: Path, checkpoint: str, size: str, shape: tuple[int, int]
) -> None:
    """60x40 pixels; trained at 64 x 64, whose area 78 x 52 has in that shape."""
    (files / "wide.png").write_bytes(encode_png(picture(1, 40, 60)))
    settings = PictureSettings(QUICK.sampling, size=size, keep_lines=False)
    (made,) = make(job(files, sketch=str(files / "wide.png")), checkpoint, settings)
    assert made.shape == (*shape, 3)


# ---- lines and layers --------------------------------------------------------------------------------------------


@pytest.fixture
def ink(files: Path) -> Path:
    """Dark red lines on nothing, 90 x 60."""
    rgba = np.zeros((60, 90, 4), np.uint8)
    rgba[10:50:12, 8:80] = rgba[10:50, 8:80:18] = (90, 0, 20, 255)
    (files / "ink.png").write_bytes(encode_png(rgba))
    return files / "ink.png"


def test_kept_lines_are_the_artists_own_pixels_at_their_own_size(files: Path, checkpoint: str, ink: Path) -> None:
    settings = PictureSettings(QUICK.sampling, size="64x64", keep_lines=True)
    (made,) = make(job(files, sketch=str(ink)), checkpoint, settings)
    artist = decode_rgba(ink.read_bytes())
    opaque = artist[..., 3] == 255
    assert made.shape == (60, 90, 3)
    np.testing.assert_array_equal(made[opaque], artist[opaque][:, :3])
    assert len(np.unique(made[~opaque], axis=0)) > 10


def test_by_default_a_result_has_the_sketchs_size_and_lines_and_states_the_networks_size(
    files: Path, checkpoint: str, ink: Path
) -> None:
    (outcome,) = colorize([job(files, sketch=str(ink))], checkpoint, QUICK)
    assert isinstance(outcome, Made)
    assert (outcome.width, outcome.height, outcome.network_width, outcome.network_height) == (90, 60, 78, 52)
    made, artist = decode(Path(outcome.job.out).read_bytes()).rgb, decode_rgba(ink.read_bytes())
    opaque = artist[..., 3] == 255
    np.testing.assert_array_equal(made[opaque], artist[opaque][:, :3])


@pytest.mark.parametrize(("color", "level"), [("black", 0), ("white", 255)])
def test_lines_are_black_or_white_by_choice_and_the_colour_beneath_is_the_same(
    files: Path, checkpoint: str, color: Any, level: int
) -> None:
    """Of light lines on dark, which light colours would hide."""
    gray = np.zeros((60, 60, 3), np.uint8)
    gray[10:50, 20:24] = 255
    (files / "light.png").write_bytes(encode_png(gray))
    asked = [job(files, f"{name}.png", sketch=str(files / "light.png")) for name in ("own", color)]
    (own,), (made,) = (
        make(one, checkpoint, replace(QUICK, line_color=name)) for one, name in zip(asked, ("own", color), strict=True)
    )
    assert (made[20:40, 21:23] == level).all()
    assert (own[20:40, 21:23] == 255).all()
    np.testing.assert_array_equal(made[:, :10], own[:, :10])


def test_resolution_and_colour_profile_of_the_sketch_are_kept_and_colours_are_read_by_them(
    files: Path, checkpoint: str, ink: Path
) -> None:
    profile = exchanged_profile()
    with Image.open(ink) as drawn:
        drawn.save(files / "print.png", dpi=(300, 300), icc_profile=profile)
    plain, tagged = (job(files, f"{name}-made.png", sketch=str(files / f"{name}.png")) for name in ("ink", "print"))
    (untouched,), (made,) = (make(one, checkpoint, layers=True) for one in (plain, tagged))
    for name, has_profile in (("", True), ("color", True), ("lines", True), ("mask", False)):
        with Image.open(tagged.layer(name) if name else tagged.out) as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
            assert image.info.get("icc_profile") == (profile if has_profile else None)
    opaque = decode_rgba(ink.read_bytes())[..., 3] == 255
    np.testing.assert_array_equal(made[opaque], untouched[opaque])  # the artist's own pixels
    assert np.abs(made[~opaque].astype(int) - untouched[~opaque][:, [1, 0, 2]]).mean() < 1  # the same colours in print
    ignored = replace(QUICK, color_managed=False)
    np.testing.assert_array_equal(make(replace(tagged, out=str(files / "i.png")), checkpoint, ignored)[0], untouched)
    with Image.open(files / "i.png") as image:
        assert image.info.keys() == {"irodori"}


def test_a_references_colours_are_those_that_its_profile_means(files: Path, checkpoint: str) -> None:
    rgb = picture(5)
    seen = Image.fromarray(rgb)
    seen.save(files / "srgb.png")
    Image.fromarray(rgb[..., [1, 0, 2]]).save(files / "tagged.png", icc_profile=exchanged_profile())
    jobs = [job(files, f"{name}-made.png", reference=str(files / f"{name}.png")) for name in ("srgb", "tagged")]
    first, second = make(jobs, checkpoint)
    assert np.abs(first.astype(int) - second).mean() < 1


def test_layers_lie_beside_the_picture_and_give_it_back(files: Path, checkpoint: str, ink: Path) -> None:
    settings = PictureSettings(QUICK.sampling, keep_lines=True)
    asked = job(files, sketch=str(ink))
    (made,) = make(asked, checkpoint, settings, layers=True)
    color, lines, mask = (np.asarray(Image.open(asked.layer(name))) for name in ("color", "lines", "mask"))
    assert (color.shape, lines.shape, mask.shape) == ((60, 90, 3), (60, 90, 4), (60, 90))
    over = Image.alpha_composite(Image.fromarray(color).convert("RGBA"), Image.fromarray(lines)).convert("RGB")
    assert np.abs(np.asarray(over).astype(int) - made).max() <= 1
    assert set(np.unique(mask)) == {0, 255}


def test_layers_of_another_picture_are_made_anew(files: Path, checkpoint: str) -> None:
    first, second = job(files), job(files, seed=1)
    make(first, checkpoint, layers=True)
    stale = Path(first.layer("color")).read_bytes()
    make(second, checkpoint)
    make(second, checkpoint, layers=True)
    assert Path(first.layer("color")).read_bytes() != stale
    recorded = [extract(Path(file).read_bytes(), file) for file in second.targets(layers=True)]
    assert [(one.seed, one.layer) for one in recorded] == [(1, ""), (1, "color"), (1, "lines"), (1, "mask")]
    with pytest.raises(AssertionError):  # they are there
        make(second, checkpoint, layers=True)


def test_light_lines_on_dark_are_coloured_as_their_negative(files: Path, checkpoint: str) -> None:
    gray = np.full((64, 64, 3), 255, np.uint8)
    gray[10:54, 20:22] = gray[30:32, 10:54] = 0
    for name, pixels in (("dark", gray), ("light", 255 - gray)):
        (files / f"{name}.png").write_bytes(encode_png(pixels))
    jobs = [job(files, f"{name}-made.png", sketch=str(files / f"{name}.png")) for name in ("dark", "light")]
    dark, light = make(jobs, checkpoint, replace(QUICK, keep_lines=False))
    assert np.abs(dark.astype(int) - light).max() <= 2


# ---- what fails, and what is there already -----------------------------------------------------------------------


@pytest.mark.seconds
def test_weights_that_are_not_finite_colour_nothing(files: Path, checkpoint: str, tmp_path: Path) -> None:
    harmed = Path(shutil.copytree(checkpoint, tmp_path / "harmed"))
    tensors = load_file(harmed / "model.safetensors")
    tensors["unet.conv_out.bias"][0] = float("nan")
    save_file(tensors, harmed / "model.safetensors")
    config = json.loads((harmed / "config.json").read_text())
    (harmed / "config.json").write_text(json.dumps(config | {"weights_sha256": sha256(harmed / "model.safetensors")}))
    with pytest.raises(ModelError, match=r"unet\.conv_out\.bias is not finite"):
        make(job(files), str(harmed))
    assert not (files / "x.png").exists()


def test_networks_are_loaded_only_when_a_picture_is_to_be_made(files: Path) -> None:
    own = write_checkpoint(files / "own")
    make(job(files), own)
    (Path(own) / "model.safetensors").unlink()
    assert [outcome.already for outcome in colorize([job(files)], own, QUICK) if isinstance(outcome, Made)] == [True]
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        list(colorize([job(files, seed=1)], own, QUICK))


def test_a_bad_input_fails_its_own_pictures_and_no_others(files: Path, checkpoint: str) -> None:
    (files / "sketches" / "bad.png").write_bytes(b"no picture")
    (files / "references" / "p0006.png").write_bytes(b"")
    outcomes = list(colorize(all_jobs(files), checkpoint, QUICK))
    made = {Path(outcome.job.out).name for outcome in outcomes if isinstance(outcome, Made)}
    failed = {Path(outcome.job.out).name: outcome.reason for outcome in outcomes if isinstance(outcome, Failed)}
    assert made == {"p0000--p0005.png", "p0001--p0005.png"} == {path.name for path in (files / "out").iterdir()}
    assert failed.keys() == {"bad--p0005.png", "bad--p0006.png", "p0000--p0006.png", "p0001--p0006.png"}
    assert failed["p0000--p0006.png"].endswith("p0006.png: the file is empty")
    assert "bad.png: a text, not a picture" in failed["bad--p0005.png"]


@pytest.mark.seconds
def test_a_reference_or_a_sketch_that_is_too_slow_fails_its_own_pictures_and_no_others(
    files: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch, survived: Survived
) -> None:
    monkeypatch.setattr(guarded, "LIMITS", LimitSettings(seconds_per_picture=1.0))
    (files / "sketches" / "slow.svg").write_bytes(slow_drawing())
    (files / "references" / "slow.svg").write_bytes(slow_drawing(2001))
    outcomes = list(colorize(all_jobs(files), checkpoint, QUICK))
    made = {Path(outcome.job.out).name for outcome in outcomes if isinstance(outcome, Made)}
    failed = {Path(outcome.job.out).name: outcome.reason for outcome in outcomes if isinstance(outcome, Failed)}
    whole = {f"p{sketch:04d}--p{reference:04d}.png" for sketch in (0, 1) for reference in (5, 6)}
    survived("picture that hangs", work="colorize", tries=2, lost=len(whole - made), doubled=0)
    assert made == whole
    assert len(failed) == 5
    assert all(reason.endswith("slow.svg: decoding took more than 1 s and was given up") for reason in failed.values())


def test_an_empty_page_is_no_sketch_and_a_colour_picture_is_noted(files: Path, checkpoint: str) -> None:
    (files / "empty.png").write_bytes(encode_png(np.full((60, 60, 3), 250, np.uint8)))
    (files / "scene.png").write_bytes(
        encode_png(np.repeat(np.eye(4, 3, dtype=np.uint8)[None] * 200, 60, 0).repeat(15, 1))
    )
    jobs = [job(files, f"{name}-made.png", sketch=str(files / f"{name}.png")) for name in ("empty", "scene")]
    empty, scene = colorize(jobs, checkpoint, QUICK)
    assert isinstance(empty, Failed)
    assert (
        empty.reason
        == f"{files / 'empty.png'}: there are no lines on this page: give line art, dark on light or light on dark"
    )
    assert isinstance(scene, Made)
    assert scene.notes == (COLOURED,)
    assert "--extract xdog" in COLOURED
    drawn = replace(QUICK, extract="xdog")
    (extracted,) = colorize([replace(jobs[1], out=str(files / "drawn.png"))], checkpoint, drawn)
    assert isinstance(extracted, Made)
    assert extracted.notes == ()


def test_a_place_that_cannot_take_its_picture_costs_that_one_alone(files: Path, checkpoint: str) -> None:
    jobs = all_jobs(files)
    Path(jobs[1].out).mkdir(parents=True)
    outcomes = list(colorize(jobs, checkpoint, QUICK))
    assert [outcome.job.out for outcome in outcomes if isinstance(outcome, Failed)] == [jobs[1].out]
    assert all(Path(one.out).is_file() for one in (jobs[0], jobs[2], jobs[3]))


def test_an_output_that_takes_nothing_is_given_up_after_a_few(files: Path, checkpoint: str) -> None:
    jobs = all_jobs(files)
    (files / "out").write_bytes(b"a file, no folder")
    outcomes = colorize(jobs, checkpoint, QUICK)
    assert [isinstance(next(outcomes), Failed) for _ in range(2)] == [True, True]
    with pytest.raises(DataError, match=re.escape(str(files / "out"))):
        next(outcomes)


def test_names_that_are_no_utf8_are_coloured_recorded_and_made_again(files: Path, checkpoint: str) -> None:
    odd = os.path.join(files, os.fsdecode(b"\xff\xfeline.png"))
    shutil.copy(files / "sketches" / "p0000.png", odd)
    (asked,) = plan_jobs([odd], [], str(files / "out"), [0])
    make(asked, checkpoint)
    assert extract(Path(asked.out).read_bytes(), "").sketch.address == odd
    asked.out.encode()
    (outcome,) = colorize([asked], checkpoint, QUICK)
    assert isinstance(outcome, Made)
    assert outcome.already


def test_the_same_call_makes_only_what_is_missing_or_would_differ(files: Path, checkpoint: str) -> None:
    def again(settings: PictureSettings = QUICK) -> list[str]:
        outcomes = colorize(all_jobs(files), checkpoint, settings)
        return sorted(Path(o.job.out).name for o in outcomes if isinstance(o, Made) and not o.already)

    assert len(again()) == 4
    assert again() == []
    (files / "out" / "p0000--p0005.png").unlink()
    (files / "sketches" / "p0001.png").write_bytes(encode_png(picture(30)))
    assert again() == ["p0000--p0005.png", "p0001--p0005.png", "p0001--p0006.png"]
    assert len(again(PictureSettings(SamplingSettings(steps=2, guidance_scale=3.0)))) == 4


def test_files_that_moved_and_new_code_do_not_make_a_picture_anew(
    files: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(job(files), checkpoint)
    moved = {"sketch": str(files / "a.png"), "reference": str(files / "b.png")}
    for address, copy in zip(job(files).inputs, moved.values(), strict=True):
        shutil.copy(address, copy)
    shutil.copytree(checkpoint, files / "copy")
    monkeypatch.setattr("pipelines.colorization.colorize.code_version", lambda: "another")
    (outcome,) = colorize([job(files, **moved)], str(files / "copy"), QUICK)
    assert isinstance(outcome, Made)
    assert outcome.already


def test_the_same_weights_under_another_prediction_type_make_another_picture(files: Path, checkpoint: str) -> None:
    (eps,) = make(job(files), checkpoint)
    (v,) = make(job(files), write_checkpoint(files / "v", prediction_type="v"))
    assert not np.array_equal(eps, v)


def test_again_makes_also_what_is_there(files: Path, checkpoint: str) -> None:
    (first,) = make(job(files), checkpoint)
    recorded = extract((files / "x.png").read_bytes(), "")
    (files / "x.png").write_bytes(embed(encode_png(np.zeros_like(first)), recorded))
    np.testing.assert_array_equal(make(job(files), checkpoint, again=True)[0], first)


def test_pictures_without_provenance_hold_nothing_and_are_made_each_time(files: Path, checkpoint: str) -> None:
    for _ in range(2):
        make(job(files), checkpoint, provenance=False)
    with Image.open(files / "x.png") as picture:
        assert picture.info == {}


def test_only_what_irodori_made_is_replaced_unless_asked_for(files: Path, checkpoint: str) -> None:
    drawn = files / "x-color.png"
    drawn.write_bytes(encode_png(picture(3)))
    make(job(files), checkpoint)
    check_targets([job(files, seed=1), job(files, "new.png")], RunSettings())
    check_targets([job(files)], RunSettings(layers=True, overwrite=True))
    with pytest.raises(PipelineError, match=rf"{drawn} is there and does not say that irodori made it.*--overwrite"):
        check_targets([job(files)], RunSettings(layers=True))


def test_a_drawn_seed_replaces_nothing_unless_asked_for(files: Path, checkpoint: str) -> None:
    make(job(files), checkpoint)
    check_targets([job(files, seed=1)], RunSettings())
    check_targets([job(files, seed=1)], RunSettings(overwrite=True), drawn=True)
    check_targets([job(files, "new.png")], RunSettings(), drawn=True)
    with pytest.raises(PipelineError, match=r"x\.png is there and each random seed gives another.*--overwrite"):
        check_targets([job(files, seed=1)], RunSettings(), drawn=True)


def test_memory_that_runs_out_is_one_line_that_says_what_to_try() -> None:
    for exhaust in (lambda: torch.empty(1 << 50), lambda: bytearray(1 << 62)):
        advice = pytest.raises(PipelineError, match=r"--device cpu\): try --low-memory.*--batch-size below 3")
        with advice, advice_on_memory(RunSettings(device="cpu", batch_size=3)):
            exhaust()
    for other in (RuntimeError("mat1 and mat2"), DataError("no picture")):
        with pytest.raises(type(other), match=str(other)), advice_on_memory(RunSettings()):
            raise other


def test_a_network_too_large_for_memory_is_reported_while_it_loads(files: Path, tmp_path: Path) -> None:
    huge = Path(write_checkpoint(tmp_path / "huge")) / "config.json"
    document = json.loads(huge.read_text())
    document["network"]["stem_widths"] = [1 << 16] * 7
    huge.write_text(json.dumps(document))
    with pytest.raises(PipelineError, match="not enough memory"):
        make(job(files), str(huge.parent))


def test_with_low_memory_no_network_is_loaded_onto_the_device(checkpoint: str) -> None:
    """On "meta", whose tensors hold no numbers: what was there once does not come back."""
    low = Colorist(checkpoint, PictureSettings(low_memory=True), RunSettings(device="meta")).pipeline
    assert isinstance(low, ColorizationPipeline)
    assert low.device.type == "meta"
    assert {p.device.type for network in (low.model, low.codec, low.image_encoder) for p in network.parameters()} == {
        "cpu"
    }


def test_the_largest_seed_can_be_drawn(files: Path, checkpoint: str) -> None:
    make(job(files, seed=MOST_SEED), checkpoint, PictureSettings(SamplingSettings(steps=1, sampler="euler_a")))


@pytest.mark.s3
def test_pictures_come_from_s3_and_go_there(s3_prefix: str, files: Path, checkpoint: str) -> None:
    upload_directory(files / "sketches", f"{s3_prefix}/sketches")
    jobs = plan_jobs(find_pictures([f"{s3_prefix}/sketches"]), [], f"{s3_prefix}/out", [0])
    for already in (False, True):
        outcomes = list(colorize(jobs, checkpoint, QUICK))
        assert [isinstance(o, Made) and o.already is already for o in outcomes] == [True, True]
    assert names(find_pictures([f"{s3_prefix}/out"])) == ["p0000.png", "p0001.png"]


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_here_is_refused_by_name(device: str) -> None:
    with pytest.raises(PipelineError, match=f"--device {device}"):
        find_device(device)


def test_a_checkpoint_of_another_family_is_refused(files: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", family="xl")
    with pytest.raises(ModelError, match="family 'xl'"):
        make(job(files), other)


def test_a_role_that_no_network_here_takes_is_refused_by_name(files: Path, checkpoint: str) -> None:
    asked = job(files, references={"background": str(files / "references" / "p0005.png")})
    with pytest.raises(PipelineError, match="a v1 network takes no background; these do: v15"):
        make(asked, checkpoint)


def test_networks_that_do_not_ship_are_asked_for_by_name(files: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", codec="sd-vae")
    with pytest.raises(PipelineError, match="irodori weights add sd-vae hf://"):
        make(job(files), other)
