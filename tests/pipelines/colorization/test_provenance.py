"""The provenance in a PNG: any reader sees it, it comes back as it was, and lies in it are refused in one line."""

import json
import struct
import zlib
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataprep.pictures.decode import decode, decode_png, encode_png
from model.diffusion.sampling_settings import InjectionSettings, SamplingSettings
from pipelines.colorization.picture_settings import PictureSettings
from pipelines.colorization.provenance import KEYWORD, Provenance, Source, Weights, embed, extract
from pipelines.common.errors import PipelineError
from tests.corpus_pictures import picture

SAMPLING = SamplingSettings(
    sampler="ddim", steps=7, no_guidance_window=(0.1, 0.2), attention_scales=(0.5,) * 16, injection=InjectionSettings(1)
)
RECORDED = Provenance(
    checkpoint=Weights(
        address="s3://models/refine",
        sha256="c" * 64,
        stage="v1.refine",
        size="base",
        codec="sd-vae",
        image_encoder="tiny",
        codec_sha256="d" * 64,
        image_encoder_sha256="",
        prediction_type="v",
    ),
    sketch=Source("彩り/線画.png", "a" * 64),
    references={"reference": Source("r.png", "b" * 64)},
    seed=12,
    settings=PictureSettings(SAMPLING, size="640x480", polarity="light", keep_lines=True, precision="bf16"),
    width=640,
    height=427,
    device="cuda",
    code_version="0.1.0+abc",
)
PNG = encode_png(picture(0))
DOCUMENT = RECORDED.document()


def recording(change: object) -> bytes:
    """A PNG that records something else, as nothing here would write it."""
    text = change if isinstance(change, bytes) else json.dumps(change).encode()
    body = b"iTXt" + KEYWORD.encode() + b"\0\0\0\0\0" + text
    return PNG[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + PNG[33:]


BACKGROUND = {"background": Source("b.png", "f" * 64)}


@pytest.mark.parametrize("references", [{}, RECORDED.references, BACKGROUND, {**RECORDED.references, **BACKGROUND}])
def test_what_is_recorded_comes_back_equal(references: dict[str, Source]) -> None:
    provenance = replace(RECORDED, references=references)
    assert extract(embed(PNG, provenance), "x.png") == provenance


def test_the_document_keeps_its_keys_and_other_roles_come_behind_the_reference() -> None:
    assert DOCUMENT["reference"] == {"address": "r.png", "sha256": "b" * 64}
    assert "references" not in DOCUMENT
    assert replace(RECORDED, references={}).document()["reference"] is None
    both = replace(RECORDED, references={**RECORDED.references, **BACKGROUND}).document()
    assert both == DOCUMENT | {"references": {"background": {"address": "b.png", "sha256": "f" * 64}}}


def test_a_reference_is_read_under_both_spellings() -> None:
    document = {name: value for name, value in DOCUMENT.items() if name != "reference"}
    document["references"] = {"reference": DOCUMENT["reference"]}
    assert extract(recording(document), "x.png") == RECORDED


@pytest.mark.parametrize(
    ("version", "unrecorded"),
    [(1, ("codec_sha256", "image_encoder_sha256", "prediction_type")), (2, ("prediction_type",))],
)
def test_what_older_formats_did_not_record_is_unknown(version: int, unrecorded: tuple[str, ...]) -> None:
    weights = {name: text for name, text in DOCUMENT["checkpoint"].items() if name not in unrecorded}
    old = {n: value for n, value in DOCUMENT.items() if n != "layer"} | {"format": version, "checkpoint": weights}
    nothing: dict[str, Any] = dict.fromkeys(unrecorded)
    unknown = replace(RECORDED.checkpoint, **nothing)
    assert extract(recording(old), "x.png") == replace(RECORDED, checkpoint=unknown)


def test_a_picture_of_before_there_were_two_was_made_under_stable_diffusions_schedule() -> None:
    weights = {name: text for name, text in DOCUMENT["checkpoint"].items() if name != "noise_schedule"}
    assert extract(recording(DOCUMENT | {"format": 4, "checkpoint": weights}), "x.png") == RECORDED
    assert RECORDED.checkpoint.noise_schedule == "stable-diffusion"


MOVED = replace(
    RECORDED,
    checkpoint=replace(RECORDED.checkpoint, address="elsewhere"),
    sketch=replace(RECORDED.sketch, address="a.png"),
    references={"reference": Source("b.png", "b" * 64)},
    device="cpu",
    code_version="0.2.0",
)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (MOVED, True),
        (replace(MOVED, references={}), False),
        (replace(MOVED, references={"reference": Source("r.png", "e" * 64)}), False),
        (replace(MOVED, references={"background": Source("r.png", "b" * 64)}), False),
        (replace(MOVED, sketch=Source("a.png", "e" * 64)), False),
        (replace(MOVED, checkpoint=replace(MOVED.checkpoint, sha256="e" * 64)), False),
        (replace(MOVED, checkpoint=replace(MOVED.checkpoint, codec_sha256="e" * 64)), False),
        (replace(MOVED, checkpoint=replace(MOVED.checkpoint, prediction_type="eps")), False),
        (replace(MOVED, seed=13), False),
        (replace(MOVED, width=641), False),
        (replace(MOVED, layer="mask"), False),
        (replace(MOVED, settings=replace(RECORDED.settings, precision="fp16")), False),
    ],
)
def test_what_decides_a_picture_is_all_but_addresses_device_and_code(other: Provenance, same: bool) -> None:
    assert (other.decisive() == RECORDED.decisive()) == same


def test_any_reader_sees_it_and_the_same_pixels() -> None:
    data = embed(PNG, RECORDED)
    with Image.open(BytesIO(data)) as image:
        text = json.loads(image.text[KEYWORD])  # type: ignore[attr-defined]
        pixels = np.asarray(image)
    assert (text["seed"], text["sketch"]["address"], text["settings"]["sampling"]["steps"]) == (12, "彩り/線画.png", 7)
    for seen in (pixels, decode_png(data), decode(data).rgb):
        np.testing.assert_array_equal(seen, picture(0))


@pytest.mark.parametrize("data", [PNG, b"", b"no picture", PNG[:40], encode_png(np.zeros((4, 4), np.uint8))])
def test_a_picture_without_provenance_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(PipelineError, match=r"x\.png: no picture that `irodori colorize` made"):
        extract(data, "x.png")


def test_a_damaged_text_is_none() -> None:
    data = bytearray(embed(PNG, RECORDED))
    data[60] ^= 1
    with pytest.raises(PipelineError, match="does not say how it was made"):
        extract(bytes(data), "x.png")


LIES = {
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "very deep": b"[" * 60_000,
    "a list": [],
    "empty": {},
    "format": DOCUMENT | {"format": 7},
    "frozen weights": DOCUMENT | {"checkpoint": DOCUMENT["checkpoint"] | {"codec_sha256": None}},
    "prediction type": DOCUMENT | {"checkpoint": DOCUMENT["checkpoint"] | {"prediction_type": None}},
    "layer": DOCUMENT | {"layer": 1},
    "extra key": DOCUMENT | {"run": "rm"},
    "no reference": {name: value for name, value in DOCUMENT.items() if name != "reference"},
    "references": DOCUMENT | {"references": ["r.png"]},
    "seed": DOCUMENT | {"seed": -1},
    "enormous seed": DOCUMENT | {"seed": 2**63},
    "fractional seed": DOCUMENT | {"seed": 0.5},
    "address": DOCUMENT | {"sketch": {"address": ["/etc/passwd"], "sha256": "a"}},
    "steps": DOCUMENT | {"settings": {"sampling": {"steps": 10**9}}},
    "size": DOCUMENT | {"settings": {"size": "99999x99999"}},
    "unknown setting": DOCUMENT | {"settings": {"sampling": {"eval": "1"}}},
    "injection": DOCUMENT | {"settings": {"sampling": {"injection": [1]}}},
    "precision": DOCUMENT | {"settings": {"precision": ["fp32"]}},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_one_line_that_names_the_file(lie: str) -> None:
    with pytest.raises(PipelineError, match=r"^x\.png: what it says of how it was made cannot be used: .+$"):
        extract(recording(LIES[lie]), "x.png")
