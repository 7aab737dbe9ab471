"""SketchKeras agrees with the released networks; its conventions do to a picture what their code does."""

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch

from model.extractors.lines.sketch_keras import CONVENTIONS, FusedSketchKeras, SketchKeras, Upsampling, detail
from tests.model.golden import assert_golden, entries, golden, off, oracle, published_entries, with_rule_weights

SIZES = ((1, 1), (1, 37), (5, 3), (64, 300), (700, 512), (3, 2000))
UPSAMPLING: tuple[Upsampling, ...] = ("nearest", "bicubic")


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def network() -> SketchKeras:
    return with_rule_weights(SketchKeras())


@pytest.fixture(scope="module")
def fused(network: SketchKeras) -> FusedSketchKeras:
    return network.fused()


def test_keys_and_shapes_are_those_of_the_published_file() -> None:
    with torch.device("meta"):
        network = SketchKeras()
    assert entries(network) == published_entries("sketchkeras")
    assert sum(parameter.numel() for parameter in network.parameters()) == 18_637_601


@pytest.mark.parametrize("upsampling", UPSAMPLING)
def test_lines_are_those_of_the_released_networks(network: SketchKeras, upsampling: Upsampling) -> None:
    tensors, _ = golden("sketch_keras")
    assert_golden(network(tensors["x"], upsampling), tensors[upsampling], 2e-6)


@pytest.mark.parametrize("upsampling", UPSAMPLING)
@pytest.mark.parametrize("size", [(64, 96), (32, 32), (32, 80)])
def test_the_fused_network_gives_the_same_lines(
    network: SketchKeras, fused: FusedSketchKeras, upsampling: Upsampling, size: tuple[int, int]
) -> None:
    x = golden("sketch_keras")[0]["x"][..., : size[0], : size[1]]
    assert_golden(fused(x, upsampling), network(x, upsampling), 3e-6)


def test_the_fused_network_leaves_the_published_one_as_it_is(network: SketchKeras) -> None:
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    network.fused()
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.slow
def test_lines_of_512_pixels_are_those_of_the_released_network(network: SketchKeras, fused: FusedSketchKeras) -> None:
    tensors, metadata = oracle("sketchkeras")
    total = sum(float(weight.double().abs().sum()) for weight in network.state_dict().values())
    assert total == pytest.approx(float(metadata["weights_abs_sum"]), rel=1e-7)
    assert_golden(network(tensors["x"]), tensors["out"], 2e-6)
    assert_golden(fused(tensors["x"]), tensors["out"], 3e-6)


@pytest.mark.slow
def test_half_precision_holds_to_a_hundredth_at_published_size(fused: FusedSketchKeras) -> None:
    tensors, _ = oracle("sketchkeras")
    found = copy.deepcopy(fused).to(torch.bfloat16)(tensors["x"].to(torch.bfloat16))
    assert off(found, tensors["out"]) <= 1e-2
    part = tensors["x"][..., :128, :128]  # float16 takes minutes for the whole on a CPU
    assert off(copy.deepcopy(fused).to(torch.float16)(part.to(torch.float16)), fused(part)) <= 1e-2


@pytest.mark.parametrize("upsampling", UPSAMPLING)
def test_half_precision_holds_to_a_hundredth(
    network: SketchKeras, fused: FusedSketchKeras, upsampling: Upsampling
) -> None:
    x = golden("sketch_keras")[0]["x"][:1, :, :32, :32]
    expected = network(x, upsampling)
    held: list[tuple[SketchKeras | FusedSketchKeras, str]] = [
        (network, "float16"),
        (fused, "float16"),
        (fused, "bfloat16"),
    ]
    for net, precision in held:
        assert precision in net.half_precision
        dtype = getattr(torch, precision)
        assert off(copy.deepcopy(net).to(dtype)(x.to(dtype), upsampling), expected) <= 1e-2


@pytest.mark.parametrize("name", ["original-enhanced", "colorizediffusion-enhanced"])
def test_a_picture_gives_the_same_lines_alone_and_in_a_batch(fused: FusedSketchKeras, name: str) -> None:
    planes = torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(3))
    batch = CONVENTIONS[name].infer(fused, planes)
    assert batch.shape == (3, 32, 48)
    for one, lines in zip(planes, batch, strict=True):
        assert off(CONVENTIONS[name].infer(fused, one[None])[0], lines) <= 1e-5


def test_the_strongest_line_of_the_three_channels_counts(fused: FusedSketchKeras) -> None:
    planes = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    channels = [fused(planes[:, i : i + 1])[0, 0] for i in range(3)]
    assert off(CONVENTIONS["original-plain"].infer(fused, planes)[0], torch.stack(channels).amax(0)) <= 1e-5


@pytest.mark.parametrize("name", [name for name in CONVENTIONS if name.endswith("-enhanced")])
@pytest.mark.parametrize("size", SIZES)
def test_any_size_comes_back_as_a_sketch(name: str, size: tuple[int, int]) -> None:
    convention = CONVENTIONS[name]
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    side = 768 if "-xl" in name else 512
    for fed in (convention.prepare(picture), convention.prepare(picture[..., 0])):
        assert (fed.shape, fed.dtype) == ((3, side, side), np.dtype(np.float32))
        assert np.isfinite(fed).all()
    lines = np.random.default_rng(1).normal(0, 1, (side, side)).astype(np.float32)
    sketch = convention.finish(lines, size)
    assert (sketch.shape, sketch.dtype) == (size, np.dtype(np.float32))
    assert sketch.min() >= 0
    assert sketch.max() <= 1


def test_the_long_side_is_512_and_the_rest_of_the_square_is_zero() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for name, how in (("original-enhanced", cv2.INTER_AREA), ("port-enhanced", cv2.INTER_LINEAR)):
        fed = CONVENTIONS[name].prepare(picture)
        small = cv2.resize(picture, (512, 384), interpolation=how)
        high = small.astype(int) - cv2.GaussianBlur(small, (0, 0), 3).astype(int)
        assert np.allclose(fed[:, :384].transpose(1, 2, 0), high / 128 / np.max(high / 128), atol=1e-6)
        assert not fed[:, 384:].any()


def test_detail_is_what_the_blur_takes_away_over_its_greatest_value() -> None:
    picture = np.full((40, 40, 3), 100, np.uint8)
    picture[20, 20, 0] = 200  # of the Gaussian of sigma 3, the middle weight is 1 / (2 pi 9) = 0.0177
    found = detail(picture)
    assert found[20, 20, 0] == 1
    assert found[20, 21, 0] == pytest.approx(-2 / 98)  # the blur gives 102 there, of 200 beside it 102 as well
    assert not found[..., 1:].any()


def test_an_even_picture_has_no_detail() -> None:
    assert not CONVENTIONS["original-enhanced"].prepare(np.full((64, 64, 3), 77, np.uint8)).any()


def test_line_art_counts_as_three_equal_channels() -> None:
    gray = np.random.default_rng(2).integers(0, 256, (512, 200), dtype=np.uint8)
    for convention in CONVENTIONS.values():
        assert np.array_equal(convention.prepare(gray), convention.prepare(np.stack((gray,) * 3, 2)))


def test_the_three_readings_differ_in_which_faint_lines_are_paper() -> None:
    lines = np.zeros((512, 512), np.float32)
    lines[0, :5] = (-0.2, 0.05, 0.15, 0.5, 1.3)
    readings = {name: CONVENTIONS[f"original-{name}"].finish(lines, (512, 512)) for name in ("plain", "pured")}
    readings["enhanced"] = CONVENTIONS["original-enhanced"].finish(lines, (512, 512))
    assert readings["plain"][0, :5] == pytest.approx([1, 0.95, 0.85, 0.5, 0])
    assert readings["enhanced"][0, :5] == pytest.approx([1, 1, 0.85, 0.5, 0])
    assert readings["pured"][0, :5] == pytest.approx([1, 1, 1, 0.5, 0])


def test_lines_outside_the_picture_are_cut_off_and_the_rest_brought_back_to_size() -> None:
    lines = np.zeros((512, 512), np.float32)
    lines[256:] = 1  # below a picture of 2:1
    lines[:, :256] = 1  # its left half
    sketch = CONVENTIONS["original-plain"].finish(lines, (100, 200))
    assert np.allclose(sketch[:, :98], 0, atol=1e-3)
    assert np.allclose(sketch[:, 102:], 1, atol=1e-3)


def test_settings_are_json_and_bear_the_names_they_are_listed_under() -> None:
    for name, convention in CONVENTIONS.items():
        assert json.loads(json.dumps(asdict(convention)))["name"] == name
    assert next(iter(CONVENTIONS)) == "original-enhanced"
