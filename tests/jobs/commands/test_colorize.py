"""`irodori colorize` as its users meet it: options in groups, wrong words named, exit codes, one document as JSON."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

from dataprep.lines.xdog import XDoGSettings, xdog
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import decode
from jobs.cli import app, run
from pipelines.colorization.provenance import extract
from tests.corpus_pictures import write_pictures
from tests.jobs.command import one_line
from tests.pipelines.training.untrained import write_checkpoint, write_parted_checkpoint

CALL = ["colorize", "--sketch", "s.png", "--reference", "r.png", "--out", "o.png"]

# (call, what the line must name)
WRONG = [
    (["colorize"], "--sketch is missing"),
    (["colorize", "--sketch", "s.png"], "--out is missing"),
    ([*CALL, "--size", "big"], "512x768"),
    ([*CALL, "--steps", "0"], "--steps"),
    ([*CALL, "--sampler", "dpmpp_2n"], "dpmpp_2m"),
    ([*CALL, "--spacing", "trialing"], "trailing"),
    ([*CALL, "--spacing", "trailing"], "give sigma_schedule=uniform"),
    ([*CALL, "--schedule", "Caras"], "Karras"),
    ([*CALL, "--schedule", "Karras", "--sigma-schedule", "beta"], "leave out sigma_schedule"),
    ([*CALL, "--schedule", "Karras", "--set", "spacing=leading"], "leave out spacing"),
    ([*CALL, "--seed", "-1"], "neither random nor a whole number"),
    ([*CALL, "--seed", "9223372036854775807", "--variations", "2"], "the last seed is more than"),
    ([*CALL, "--vae-precision", "fp8"], "fp16"),
    ([*CALL, "--polarity", "lite"], "light"),
    ([*CALL, "--extract", "anime2scetch"], "anime2sketch"),
    ([*CALL, "--extract", "xdog", "--polarity", "light"], "polarity and levels have no say"),
    ([*CALL, "--no-keep-lines", "--line-color", "black"], "line_color=black is of lines that are laid over"),
    ([*CALL, "--line-color", "grey"], "black"),
    ([*CALL, "--extract", "xdog", "--no-levels"], "polarity and levels have no say"),
    ([*CALL, "--precision", "fp8"], "fp16"),
    ([*CALL, "--guidance-window", "0.5"], "2 values"),
    ([*CALL, "--reference-padding", "3"], "1..2"),
    ([*CALL, "--attention-scale", "semantic=0.5"], "semantics"),
    ([*CALL, "--injection-fidelity", "2"], "0..1"),
    ([*CALL, "--set", "guidance_scal=2"], "guidance_scale"),
    ([*CALL, "--set", "injection.strat=2"], "start"),
    ([*CALL, "--variations", "0"], "--variations"),
    ([*CALL, "--batch-size", "0"], "--batch-size"),
    ([*CALL, "--guidence-scale", "2"], "--guidance-scale"),
    (["colorize", "--sketch", "s.png", "--out", "o", "--pair"], "--pair needs --reference"),
    (["colorize", "--sketch", "s.png", "--out", "o.png", "--background", "b.png"], "--background needs --reference"),
    (["colorize", "--sketch", "s.png", "--out", "o.png", "--reference-mask", "m.png"], "--reference-mask needs"),
    ([*CALL, "--mode", "ful"], "full"),
    ([*CALL, "--sketch-threshold", "2"], "0..1"),
    ([*CALL, "--reference-mask-by", "lines"], "isnetis"),
    ([*CALL, "--sketch-mask-by", "isnet"], "isnetis"),
    (["colorize", "--sketch", "bad.png", "--out", "o.jpg"], "give a .png file"),
    (["colorize", "--sketch", "s", "--reference", "bad.png", "--pair", "--out", "o"], "as many references as sketches"),
    (["colorize", "--replay", "x.png", "--steps", "3", "--no-levels"], "leave out --no-levels, --steps"),
    (["colorize", "--replay", "x.png", "--extract", "xdog"], "leave out --extract"),
    (["colorize", "--replay", "x.png", "--again", "--seed", "random"], "leave out --again, --seed"),
    (["colorize", "--replay", "x.png", "--out", "folder"], "one .png file"),
    (["colorize", "--sketch", "a.png", "--out", "o", "--follow"], "--follow needs --replay"),
    (["colorize", "--replay", "x.png", "--sketch", "a.png", "--sketch", "b.png"], "one --sketch"),
]
HALF_BUT_MIDDLE = [0.5] * 6 + [1.0] + [0.5] * 9


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two sketches, two references and a file that is no picture."""
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "s", 2)
    write_pictures(tmp_path / "r", 2, first=5)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    return tmp_path


@pytest.mark.parametrize(("call", "named"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_wrong_call_is_2_and_one_line_that_names_what_is_valid(
    desk: Path, capsys: pytest.CaptureFixture[str], call: list[str], named: str
) -> None:
    assert run(call) == 2
    assert named in one_line(capsys)
    assert sorted(path.name for path in desk.iterdir()) == ["bad.png", "r", "s"]


def test_the_help_shows_the_controls_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["colorize", "--help"]) == 0
    said = capsys.readouterr().out
    groups = ["Input", "Output", "Line art", "Sampling", "Guidance", "Attention", "Machine"]
    assert sorted(groups, key=lambda group: said.index(f"─ {group} ─")) == groups


def test_the_document_names_every_option_and_no_other() -> None:
    document = (Path(__file__).parents[3] / "docs" / "colorize.md").read_text()
    command = typer.main.get_command(app).commands["colorize"]  # type: ignore[attr-defined]
    options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    named = set(re.findall(r"(?<![a-z])--[a-z-]*[a-z]", document))
    assert named - {"--help"} == options - {"--provenance", "--levels"}  # defaults, named by their opposites


def plan(capsys: pytest.CaptureFixture[str], checkpoint: str, *words: str) -> dict[str, Any]:
    """What a dry run prints, which must be one JSON document."""
    assert run(["colorize", "--sketch", "s", "--checkpoint", checkpoint, "--out", "o", "--dry-run", *words]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_dry_run_prints_every_picture_and_setting_and_makes_nothing(
    desk: Path, capsys: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    document = plan(capsys, checkpoint, "--reference", "r", "--variations", "2", "--seed", "3")
    assert [picture["seed"] for picture in document["pictures"]] == [3, 4] * 4
    assert document["pictures"][0]["out"] == "o/p0000--p0005--3.png"
    assert document["checkpoint"]["stage"] == "v1.noisy"
    assert document["settings"]["sampling"]["guidance_scale"] == 4.0
    assert not (desk / "o").exists()


def test_the_checkpoints_own_sampling_stands_where_the_call_sets_none(
    desk: Path, capsys: pytest.CaptureFixture[str], checkpoint: str, tmp_path: Path
) -> None:
    own = shutil.copytree(checkpoint, tmp_path / "own")
    config = next(own.rglob("config.json"))
    config.write_text(json.dumps(json.loads(config.read_text()) | {"sampling": {"sampler": "ddim", "steps": 4}}))
    sampling = plan(capsys, str(own))["settings"]["sampling"]
    assert (sampling["sampler"], sampling["steps"], sampling["guidance_scale"]) == ("ddim", 4, 4.0)
    sampling = plan(capsys, str(own), "--steps", "7", "--guidance-scale", "3")["settings"]["sampling"]
    assert (sampling["sampler"], sampling["steps"], sampling["guidance_scale"]) == ("ddim", 7, 3.0)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--sampler", "ddim", "--eta", "0.5"], "eta", 0.5),
        (["--sampler", "DPM++ 2M"], "sigma_schedule", "karras"),
        (["--sampler", "DPM++ 2M", "--schedule", "SGM Uniform"], "spacing", "trailing"),
        (["--schedule", "Exponential"], "sigma_schedule", "exponential"),
        (["--spacing", "trailing", "--sigma-schedule", "uniform"], "spacing", "trailing"),
        (["--dual-rule", "sum"], "dual_rule", "sum"),
        (["--guidance-window", "0.1,0.9"], "guidance_window", [0.1, 0.9]),
        (["--no-guidance-window", "0,0.3"], "no_guidance_window", [0.0, 0.3]),
        (["--sketch-guidance-scale", "2"], "sketch_guidance_scale", 2.0),
        (["--sketch-strength", "0.5"], "sketch_strength", 0.5),
        (["--reference-strength", "0.6"], "reference_strength", 0.6),
        (
            ["--attention-scale", "all=0.5", "--attention-scale", "middle=1"],
            "attention_scales",
            [0.5] * 6 + [1] + [0.5] * 9,
        ),
        (["--inject"], "injection", {"fidelity": 0.5, "start": 0.0, "sketch_strength": 0.0}),
        (["--injection-start", "0.2"], "injection", {"fidelity": 0.5, "start": 0.2, "sketch_strength": 0.0}),
        (["--steps", "5", "--set", "steps=6"], "steps", 6),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and isinstance(value[0], str) else "",
)
def test_each_control_is_an_option(
    desk: Path, capsys: pytest.CaptureFixture[str], checkpoint: str, words: list[str], name: str, value: object
) -> None:
    assert plan(capsys, checkpoint, *words)["settings"]["sampling"][name] == value


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--sampler", "DPM++ SDE"],
            "sampler 'DPM++ SDE': no equal in diffusers; the nearest, dpmpp_2s_sde, is",
        ),
        (["--set", "sampler=DPM fast"], "sampler 'DPM fast': no equal in diffusers; the nearest, dpmpp_3s, is"),
        (["--sampler", "DPM2"], ""),
    ],
)
def test_a_sampler_that_only_comes_near_is_told(
    desk: Path, capsys: pytest.CaptureFixture[str], checkpoint: str, words: list[str], said: str
) -> None:
    assert run(["colorize", "--sketch", "s", "--checkpoint", checkpoint, "--out", "o", "--dry-run", *words]) == 0
    assert capsys.readouterr().err == (f"{said} taken\n" if said else "")


@pytest.mark.parametrize(("words", "said"), [(["--ema"], "no moving average"), (["--device", "tpu"], "--device tpu")])
def test_a_dry_run_refuses_what_the_call_would(
    desk: Path, capsys: pytest.CaptureFixture[str], checkpoint: str, words: list[str], said: str
) -> None:
    assert run(["colorize", "--sketch", "s", "--checkpoint", checkpoint, "--out", "o", "--dry-run", *words]) == 1
    assert said in one_line(capsys)


def test_pictures_are_told_and_made_again_equal(desk: Path, capfd: pytest.CaptureFixture[str], checkpoint: str) -> None:
    where = ["--checkpoint", checkpoint, "--out", "made", "--steps", "2", "--batch-size", "1"]
    assert run(["colorize", "--sketch", "s", "--reference", "r", "--pair", *where, "--layers"]) == 0
    said = capfd.readouterr()
    first, second = "made/p0000--p0005", "made/p0001--p0006"
    ends = (".png", "-color.png", "-lines.png", "-mask.png")
    assert said.out.splitlines() == [stem + end for stem in (first, second) for end in ends]
    assert "2/2 pictures" in said.err
    with Image.open(f"{first}-lines.png") as lines:
        assert lines.mode == "RGBA"
    assert run(["colorize", "--replay", f"{first}.png"]) == 2  # nobody is at a terminal to be asked
    refused = capfd.readouterr().err
    assert "/s/p0000.png" in refused
    assert "--follow" in refused
    assert run(["colorize", "--replay", f"{first}.png", "--follow"]) == 0
    told, verdict = capfd.readouterr().out.splitlines()
    assert told == f"{first}-replay.png"
    assert verdict.startswith(f"pixels equal to {first}.png")


def test_the_first_call_gives_the_sketchs_size_and_says_so(
    desk: Path, capfd: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    where = ["--checkpoint", checkpoint, "--sketch", "line.png", "--steps", "1"]
    drawn = np.full((240, 320), 255, np.uint8)
    drawn[40:200:30, 30:290] = 0
    Image.fromarray(drawn).save("line.png", dpi=(300, 300))
    assert run(["colorize", *where, "--out", "o.png"]) == 0
    said = capfd.readouterr()
    assert said.out.splitlines() == ["o.png"]
    told = "1 picture made: 320x240, the sketch's own size, its lines over the network's picture of 74x55\n"
    assert told in said.err
    with Image.open("o.png") as image:
        assert image.size == (320, 240)
        assert not np.asarray(image)[drawn == 0].any()
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    assert run(["colorize", *where, "--out", "raw.png", "--no-keep-lines"]) == 0
    assert "1 picture made: the network's picture of 74x55 as it is" in capfd.readouterr().err
    with Image.open("raw.png") as image:
        assert image.size == (74, 55)
    assert run(["colorize", *where, "--out", "o.png"]) == 0
    assert "1 picture kept: made of the same before" in capfd.readouterr().err


@pytest.mark.seconds
def test_the_documented_python_gives_the_pictures_of_the_command(
    desk: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: str
) -> None:
    """The code of docs/colorize.md as it stands there, and the call that it names."""
    document = (Path(__file__).parents[3] / "docs" / "colorize.md").read_text()
    part = document[document.index("## From Python") :].partition("\n## ")[0]
    shutil.copytree(checkpoint, "runs/refine/checkpoint")
    drawn = np.full((120, 200), 255, np.uint8)
    drawn[30:100:30, 20:180] = drawn[30:100, 40:180:45] = 0
    Image.fromarray(drawn).save("line.png")
    shutil.copy("r/p0005.png", "colours.png")
    (call,) = re.findall(r"`irodori (colorize [^`]+)`", part)
    assert run(call.split()) == 0
    expected = [decode(Path(f"made/line--colours--{seed}.png").read_bytes()).rgb for seed in (0, 1)]
    shutil.rmtree("made")
    examples = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    for example in examples:
        exec(compile(example, "docs/colorize.md", "exec"), {})
    for names in ("made/line--colours--{}.png", "page-{}.png"):
        for seed, pixels in enumerate(expected):
            np.testing.assert_array_equal(decode(Path(names.format(seed)).read_bytes()).rgb, pixels)


def test_the_same_call_into_the_folder_of_the_inputs_does_nothing_twice(
    desk: Path, capfd: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    where = ["--checkpoint", checkpoint, "--steps", "1", "--layers"]
    for folder, inputs in (("s", ["--sketch", "s", "--reference", "r/p0005.png"]), ("r", ["--sketch", "s/p0000.png"])):
        call = ["colorize", *inputs, *(["--reference", "r"] if folder == "r" else []), "--out", folder, *where]
        assert run(call) == 0
        made = sorted(path.name for path in (desk / folder).glob("*.png"))
        capfd.readouterr()
        assert run(call) == 0
        said = capfd.readouterr()
        assert "2 pictures kept" in said.err
        assert "8 passed over (made by irodori)" in said.err
        assert sorted(path.name for path in (desk / folder).glob("*.png")) == made


def test_pairs_are_printed_in_the_order_in_which_people_number(
    desk: Path, capfd: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    for folder, ending in (("drawn", "{}.png"), ("colours", "ref_{:02}.png")):
        (desk / folder).mkdir()
        for number in (1, 2, 10):
            shutil.copy("s/p0000.png", desk / folder / ending.format(number))
    call = ["colorize", "--sketch", "drawn", "--reference", "colours", "--pair", "--checkpoint", checkpoint]
    assert run([*call, "--out", "o", "--dry-run"]) == 0
    said = capfd.readouterr()
    assert said.err == "pairs:\n  1.png   ref_01.png\n  2.png   ref_02.png\n  10.png  ref_10.png\n"
    pairs = [(picture["sketch"], picture["reference"]) for picture in json.loads(said.out)["pictures"]]
    assert pairs == [(f"drawn/{n}.png", f"colours/ref_{n:02}.png") for n in (1, 2, 10)]


def test_a_long_name_is_coloured_under_a_shorter_one(
    desk: Path, capfd: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    for name in ("y" * 250, "\u6f22" * 83):
        shutil.copy("s/p0000.png", f"s/{name}.png")
    call = ["colorize", "--sketch", "s", "--checkpoint", checkpoint, "--out", "o", "--steps", "1"]
    assert run(call) == 0
    made = capfd.readouterr().out.splitlines()
    assert len(set(made)) == 4
    assert all(Path(address).is_file() for address in made)
    shutil.copy("s/p0000.png", "one.png")
    assert run(["colorize", "--sketch", "one.png", "--checkpoint", checkpoint, "--out", f"{'z' * 251}.png"]) == 0


def test_a_colour_picture_is_coloured_from_its_extracted_lines_and_made_again_equal(
    desk: Path, capfd: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    where = ["--checkpoint", checkpoint, "--steps", "1", "--keep-lines", "--layers"]
    assert run(["colorize", "--sketch", "s/p0000.png", "--out", "o.png", "--extract", "xdog", *where]) == 0
    lines = np.asarray(Image.open("o-lines.png"))
    drawn = xdog(gray_of(decode(Path("s/p0000.png").read_bytes())), XDoGSettings())
    np.testing.assert_array_equal(lines[..., 3], 255 - drawn)
    made = decode(Path("o.png").read_bytes()).rgb
    assert made.shape == (48, 64, 3)
    assert (drawn == 0).any()
    assert not made[drawn == 0].any()
    assert extract(Path("o.png").read_bytes(), "o.png").settings.extract == "xdog"
    capfd.readouterr()
    assert run(["colorize", "--replay", "o.png", "--follow"]) == 0
    assert "pixels equal to o.png" in capfd.readouterr().out
    assert run(["colorize", "--sketch", "s/p0000.png", "--out", "read.png", *where]) == 0  # the same, taken for lines
    assert (decode(Path("read.png").read_bytes()).rgb != made).any()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_style_without_weights_is_one_line_and_nothing_is_made(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, checkpoint: str, more: list[str]
) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(desk / "nowhere"))
    call = ["colorize", "--sketch", "s", "--checkpoint", checkpoint, "--out", "o", "--extract", "simplified", *more]
    assert run(call) == 1
    assert "irodori weights add sketch_keras hf://" in one_line(capsys)
    assert sorted(path.name for path in desk.iterdir()) == ["bad.png", "r", "s"]


def test_a_random_seed_is_told_kept_in_names_and_replayed(
    desk: Path, capfd: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    where = ["--sketch", "s/p0000.png", "--checkpoint", checkpoint, "--steps", "1", "--seed", "random"]
    seeds = set()
    for _ in range(2):
        assert run(["colorize", *where, "--out", "made"]) == 0
        said = capfd.readouterr()
        (seed,) = re.findall(r"^--seed (\d+) was drawn$", said.err, re.MULTILINE)
        assert said.out.splitlines() == [f"made/p0000--{seed}.png"]
        assert extract(Path(f"made/p0000--{seed}.png").read_bytes(), "").seed == int(seed)
        seeds.add(seed)
    assert len(seeds) == 2
    assert run(["colorize", "--replay", f"made/p0000--{seed}.png", "--follow"]) == 0
    assert "pixels equal" in capfd.readouterr().out
    assert run(["colorize", *where, "--out", "one.png"]) == 0
    capfd.readouterr()
    assert run(["colorize", *where, "--out", "one.png"]) == 1
    assert "one.png is there and each random seed gives another picture" in one_line(capfd)


def test_all_is_made_again_when_told(desk: Path, capfd: pytest.CaptureFixture[str], checkpoint: str) -> None:
    call = ["colorize", "--sketch", "s", "--checkpoint", checkpoint, "--out", "made", "--steps", "1", "--json"]
    for more, already in ([], False), ([], True), (["--again"], False):
        assert run([*call, *more]) == 0
        assert [made["already"] for made in json.loads(capfd.readouterr().out)["made"]] == [already] * 2


def test_one_bad_file_is_told_and_the_others_are_made(
    desk: Path, capfd: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    sketches = ["--sketch", "bad.png", "--sketch", "s/p0000.png"]
    call = ["colorize", *sketches, "--checkpoint", checkpoint, "--out", "o", "--steps", "1"]
    assert run(call) == 1
    said = capfd.readouterr()
    assert said.out.splitlines() == ["o/p0000.png"]
    assert "not made: o/bad.png: bad.png: a text, not a picture" in said.err
    assert said.err.splitlines()[-1].startswith("irodori: 1 of 2 pictures could not be made, the first: bad.png: ")
    assert run([*call, "--json"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert [(made["out"], made["already"]) for made in document["made"]] == [("o/p0000.png", True)]
    assert [failed["sketch"] for failed in document["failed"]] == ["bad.png"]


def test_a_checkpoint_of_another_family_is_refused(desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = write_checkpoint(desk / "model", family="xl")
    assert run(["colorize", "--sketch", "s", "--out", "o", "--checkpoint", model]) == 1
    told = capfd.readouterr()
    assert "family 'xl'" in told.err.splitlines()[-1]
    assert told.out == ""


def test_a_picture_that_tells_nothing_cannot_be_replayed(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["colorize", "--replay", "s/p0000.png"]) == 1
    assert "s/p0000.png: no picture that `irodori colorize` made" in one_line(capsys)


def test_masks_and_a_background_come_with_the_call(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    checkpoint = write_parted_checkpoint(tmp_path / "checkpoint")
    page, patches = np.full((64, 64, 3), 255, np.uint8), np.full((48, 48, 3), 90, np.uint8)
    page[20:44, [20, 43]] = page[[20, 43], 20:44] = 0
    for folder, names in (("sketches", "ab"), ("masks", "ba")):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.fromarray(page).save(tmp_path / folder / f"{name}.png")
    for name in ("reference", "reference-mask", "sky"):
        Image.fromarray(patches).save(tmp_path / f"{name}.png")
    call = ["colorize", "--checkpoint", checkpoint, "--sketch", str(tmp_path / "sketches"), "--steps", "1"]
    call += ["--reference", str(tmp_path / "reference.png"), "--reference-mask", str(tmp_path / "reference-mask.png")]
    call += ["--sketch-mask", str(tmp_path / "masks"), "--background", str(tmp_path / "sky.png")]
    call += ["--out", str(tmp_path / "made"), "--mode", "background", "--masks", "--json"]
    assert run(call) == 0, capfd.readouterr().err
    found = json.loads(capfd.readouterr().out)["made"]
    assert [Path(one["references"]["sketch_mask"]).name for one in found] == ["a.png", "b.png"]
    assert all(Path(file).is_file() for one in found for file in one["layers"])
    recorded = extract(Path(found[0]["out"]).read_bytes(), "a")
    assert set(recorded.references) == {"reference", "sketch_mask", "reference_mask", "background"}
    assert recorded.settings.sampling.mode == "background"
    two = [*call, "--background", str(tmp_path / "reference.png")]
    assert run(two) == 2
    assert "--background is one picture" in capfd.readouterr().err
    (tmp_path / "masks" / "b.png").unlink()
    assert run(call) == 1
    assert "--sketch-mask: none is named like" in capfd.readouterr().err
