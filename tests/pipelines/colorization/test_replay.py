"""A picture is made again from its provenance; where anything has changed, nothing is made and one line says what."""

import json
import shutil
import struct
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep.errors import DataError
from dataprep.pictures.decode import decode, encode_png
from dataprep.sources.items import MOST_BYTES
from model.checkpoint import read_metadata
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.colorization.colorize import Made, colorize, weights_of
from pipelines.colorization.jobs import ColorizeJob
from pipelines.colorization.picture_settings import PictureSettings
from pipelines.colorization.provenance import KEYWORD, embed, extract, sha256_of
from pipelines.colorization.replay import InputAddresses, Replayed, plan_replay, replay, unrecorded
from pipelines.colorization.run_settings import RunSettings
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from tests.corpus_pictures import picture, write_pictures
from tests.pipelines.extraction.test_learned_operators import keep_weights
from tests.pipelines.training.untrained import write_checkpoint

RUN = RunSettings(device="cpu")
SETTINGS = PictureSettings(SamplingSettings(sampler="euler_a", steps=2), size="48x64", keep_lines=True)


@pytest.fixture(scope="module")
def checkpoint(untrained_checkpoint: str) -> str:
    return untrained_checkpoint


@pytest.fixture
def desk(tmp_path: Path, checkpoint: str) -> Path:
    """p0000.png coloured after p0001.png, with noise on the way: made.png."""
    write_pictures(tmp_path, 2)
    asked = ColorizeJob(
        sketch=str(tmp_path / "p0000.png"),
        references={"reference": str(tmp_path / "p0001.png")},
        out=str(tmp_path / "made.png"),
        seed=5,
    )
    (outcome,) = colorize([asked], checkpoint, SETTINGS, RUN)
    assert isinstance(outcome, Made)
    return tmp_path


def again(desk: Path, **moved: Any) -> Replayed:
    made = str(desk / "made.png")
    job, recorded = plan_replay(made, str(desk / "again.png"), InputAddresses(**{"follow": True} | moved), RUN)
    return replay(made, job, recorded, RUN)


def test_a_replay_has_the_same_pixels_and_provenance(desk: Path) -> None:
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


def test_a_replay_is_made_again_where_one_is_there_already(desk: Path) -> None:
    assert again(desk).equal
    recorded = extract((desk / "again.png").read_bytes(), "")
    black = encode_png(np.zeros((recorded.height, recorded.width, 3), np.uint8))
    (desk / "again.png").write_bytes(embed(black, recorded))
    replayed = again(desk)
    assert (replayed.equal, replayed.made.already) == (True, False)
    made, new = (decode((desk / name).read_bytes()).rgb for name in ("made.png", "again.png"))
    np.testing.assert_array_equal(made, new)


def test_addresses_of_the_picture_are_opened_only_where_they_are_named_or_followed(
    desk: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, out = str(desk / "made.png"), str(desk / "again.png")
    recorded = extract(Path(made).read_bytes(), "")
    away = replace(recorded.sketch, address="s3://somebody/else.png")
    record(desk, sketch=asdict(away))
    opened: list[str] = []
    monkeypatch.setattr("dataprep.storage.s3.client", lambda: opened.append("s3"))
    for given in (InputAddresses(), InputAddresses(checkpoint=checkpoint)):
        with pytest.raises(SettingsError, match=r"sketch s3://somebody/else\.png.*reference .*p0001\.png.*--follow"):
            plan_replay(made, out, given, RUN)
    named = InputAddresses(
        sketch=str(desk / "p0000.png"), references={"reference": str(desk / "p0001.png")}, checkpoint=checkpoint
    )
    assert plan_replay(made, out, named, RUN)[0].sketch == str(desk / "p0000.png")
    assert opened == []


def test_an_input_that_is_too_large_to_be_a_picture_is_not_read(desk: Path) -> None:
    with (desk / "p0000.png").open("r+b") as file:
        file.truncate(MOST_BYTES + 1)  # sparse: it takes no room
    with pytest.raises(DataError, match=r"p0000\.png: the file has 268,435,457 bytes"):
        again(desk)


@pytest.mark.parametrize(("name", "kind"), [("p0000.png", "sketch"), ("p0001.png", "reference")])
def test_an_input_that_changed_is_named_and_nothing_is_made(desk: Path, name: str, kind: str) -> None:
    (desk / name).write_bytes(encode_png(picture(7)))
    with pytest.raises(PipelineError, match=rf"{name}: the {kind} has changed since .*made\.png was made"):
        again(desk)
    assert not (desk / "again.png").exists()


def test_another_checkpoint_is_named(desk: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", seed=1)
    with pytest.raises(PipelineError, match=r"other: another checkpoint than .* was made with: sha256: "):
        again(desk, checkpoint=other)


def test_the_same_weights_under_another_prediction_type_are_another_checkpoint(desk: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", prediction_type="v")
    with pytest.raises(PipelineError, match=r"other: another checkpoint than .*: prediction_type: eps -> v"):
        again(desk, checkpoint=other)


def test_files_that_moved_may_be_named_and_must_be_the_same(desk: Path, checkpoint: str) -> None:
    (desk / "p0000.png").rename(desk / "moved.png")
    shutil.copytree(checkpoint, desk / "copy")
    assert again(desk, sketch=str(desk / "moved.png"), checkpoint=str(desk / "copy")).equal
    with pytest.raises(PipelineError, match="the sketch has changed"):
        again(desk, sketch=str(desk / "p0001.png"))
    (desk / "p0001.png").rename(desk / "colours.png")
    assert again(desk, sketch=str(desk / "moved.png"), references={"reference": str(desk / "colours.png")}).equal
    with pytest.raises(PipelineError, match=r"made\.png was made without a background"):
        again(desk, references={"background": str(desk / "colours.png")})


def test_a_replay_never_overwrites_what_it_repeats(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    with pytest.raises(PipelineError, match="give another file"):
        plan_replay("made.png", str(desk / "made.png"), InputAddresses(follow=True), RUN)


@pytest.mark.parametrize(("out", "said"), [("p0001.png", "would overwrite"), ("drawn.png", "drawn.png is there")])
def test_a_replay_never_overwrites_an_input_or_what_others_made(desk: Path, out: str, said: str) -> None:
    (desk / "drawn.png").write_bytes(encode_png(picture(4)))
    before = (desk / out).read_bytes()
    with pytest.raises(PipelineError, match=said):
        plan_replay(str(desk / "made.png"), str(desk / out), InputAddresses(follow=True), RUN)
    assert (desk / out).read_bytes() == before


def record(desk: Path, **changes: object) -> None:
    """made.png records something else."""
    data = (desk / "made.png").read_bytes()
    document = extract(data, "").document() | changes
    body = b"iTXt" + KEYWORD.encode() + b"\0\0\0\0\0" + json.dumps(document).encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    bare = encode_png(decode(data).rgb)
    (desk / "made.png").write_bytes(bare[:33] + chunk + bare[33:])


def test_frozen_weights_that_changed_are_named(desk: Path, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "bundled", codec="sd-vae")
    (tmp_path / "bundled" / "sd-vae.safetensors").write_bytes(b"one autoencoder")
    weights = weights_of(checkpoint, Path(checkpoint), read_metadata(Path(checkpoint)), ema=False)
    assert (weights.codec_sha256, weights.image_encoder_sha256) == (sha256_of(b"one autoencoder"), "")
    assert weights.codec_sha256 is not None
    record(desk, checkpoint=asdict(weights))
    made, out = str(desk / "made.png"), str(desk / "again.png")
    assert plan_replay(made, out, InputAddresses(follow=True), RUN)[1].checkpoint == weights
    (tmp_path / "bundled" / "sd-vae.safetensors").write_bytes(b"another")
    with pytest.raises(
        PipelineError, match=rf"sd-vae: the frozen network has changed since .*{weights.codec_sha256[:12]}"
    ):
        plan_replay(made, out, InputAddresses(follow=True), RUN)


def test_line_art_of_other_weights_is_no_replay(desk: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(desk))
    sha256 = keep_weights(desk, "hed")
    asked = ColorizeJob(sketch=str(desk / "p0000.png"), out=str(desk / "made.png"), seed=0)
    list(colorize([asked], checkpoint, replace(SETTINGS, extract="hed"), RUN))
    assert extract((desk / "made.png").read_bytes(), "").checkpoint.extractor_sha256 == sha256
    assert again(desk).equal
    stored = json.loads((desk / "hed.json").read_text())
    stored |= {"sha256": "f" * 64, "files": {"hed.safetensors": "f" * 64}}
    (desk / "hed.json").write_text(json.dumps(stored))
    with pytest.raises(PipelineError, match=f"hed: the frozen network has changed since .*{sha256[:12]}"):
        again(desk)


def test_a_picture_of_format_1_still_replays_and_unrecorded_weights_are_reported(desk: Path) -> None:
    recorded = extract((desk / "made.png").read_bytes(), "").checkpoint
    old = {name: text for name, text in asdict(recorded).items() if not name.endswith(("_sha256", "_type"))}
    record(desk, format=1, checkpoint=old)
    replayed = again(desk)
    assert (replayed.equal, replayed.notes) == (True, ())  # the tiny networks ship: their ids say all
    unknown = replace(recorded, codec="sd-vae", codec_sha256=None)
    assert unrecorded(unknown, replace(unknown, codec_sha256="a" * 64)) == ["weights of sd-vae were not recorded then"]
