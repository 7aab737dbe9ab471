"""InformativeDrawing against numbers of released code, and its four conventions by hand.

The numbers come from the network as controlnet_aux 0.0.10 has it, with weights by rule. No list of the published file's
keys is at hand: they are written out here.
"""

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv

from model.extractors.lines.lineart_sk import CONVENTIONS, InformativeDrawing
from tests.model.extractors.feeding import SIZES, assert_is_sketch, fed, noise, sketches
from tests.model.golden import assert_golden, entries, golden, off, with_rule_weights


@pytest.fixture(scope="module")
def network() -> InformativeDrawing:
    return with_rule_weights(InformativeDrawing())


def test_entries_are_the_published_ones() -> None:
    published = {
        "model0.1": [64, 3, 7, 7],
        "model1.0": [128, 64, 3, 3],
        "model1.3": [256, 128, 3, 3],
        **{f"model2.{block}.conv_block.{layer}": [256, 256, 3, 3] for block in range(3) for layer in (1, 5)},
        "model3.0": [256, 128, 3, 3],  # transposed: channels in first
        "model3.3": [128, 64, 3, 3],
        "model4.1": [1, 64, 7, 7],
    }
    biases = {name: shape[1] if name.startswith("model3") else shape[0] for name, shape in published.items()}
    with torch.device("meta"):
        network = InformativeDrawing()
    assert entries(network) == {
        **{f"{name}.weight": (str(shape), "F32") for name, shape in published.items()},
        **{f"{name}.bias": (f"[{channels}]", "F32") for name, channels in biases.items()},
    }
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_290_945


@torch.inference_mode()
def test_lines_are_those_of_the_released_network(network: InformativeDrawing) -> None:
    tensors, _ = golden("lineart_sk")
    assert_golden(network(tensors["x"]), tensors["out"], 1e-5)
    middle = network.model2(network.model1(network.model0(tensors["x"])))
    assert_golden(middle[:, :16], tensors["tap.model2[:, :16]"], 1e-5)


@torch.inference_mode()
def test_sides_that_are_no_multiple_of_4_come_out_at_the_next_as_released(network: InformativeDrawing) -> None:
    tensors, _ = golden("lineart_sk")
    assert tensors["odd.x"].shape[2:] == (9, 14)
    assert tensors["odd.out"].shape[2:] == (12, 16)
    assert_golden(network(tensors["odd.x"]), tensors["odd.out"], 1e-5)


@torch.inference_mode()
def test_the_scale_of_the_input_does_not_matter(network: InformativeDrawing) -> None:
    tensors, _ = golden("lineart_sk")
    assert off(network(tensors["x"] * 255), tensors["out"]) < 5e-4


@torch.inference_mode()
@pytest.mark.parametrize(("precision", "limit"), [("float16", 1e-2), ("bfloat16", 5e-2)])
def test_half_precision_is_offered_where_the_lines_hold_to_a_hundredth_at_both_scales(
    precision: str, limit: float
) -> None:
    dtype, tensors = getattr(torch, precision), golden("lineart_sk")[0]
    network = with_rule_weights(InformativeDrawing()).to(dtype)
    error = max(off(network((tensors["x"] * scale).to(dtype)), tensors["out"]) for scale in (1, 255))
    assert error < limit
    assert (precision in InformativeDrawing.half_precision) == (error < 1e-2)


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_any_size_give_lines_of_that_size(network: InformativeDrawing, size: tuple[int, int]) -> None:
    for channels in (1, 3):
        assert_is_sketch(sketches(network, CONVENTIONS["own-size"], noise(size, channels))[0], size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", list(CONVENTIONS))
def test_lines_come_back_at_the_pictures_size(name: str, size: tuple[int, int]) -> None:
    value = fed(CONVENTIONS[name], noise(size), 0.25)
    assert_is_sketch(value, size)
    np.testing.assert_allclose(value, 0.25, atol=1e-6)


def test_a_picture_has_the_same_lines_alone_and_in_a_batch(network: InformativeDrawing) -> None:
    convention = CONVENTIONS["own-size"]
    pictures = noise((21, 34)), noise((21, 34))[::-1]
    together = sketches(network, convention, *pictures)
    for picture, expected in zip(pictures, together, strict=True):
        np.testing.assert_allclose(sketches(network, convention, picture)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "fed_at"),
    [
        ("own-size", (601, 399), (601, 399)),
        ("colorizediffusion", (600, 400), (512, 512)),
        ("informative-drawings", (600, 400), (384, 256)),  # 600 * 256 / 400
        ("informative-drawings", (300, 400), (256, 341)),  # 341.3 is cut, as torchvision does
        ("informative-drawings", (1, 37), (110, 4096)),  # 4096 / 37 = 110.7 times
        ("controlnet-aux", (600, 800), (512, 704)),  # 682.7 = 10.7 * 64
        ("controlnet-aux", (64, 300), (512, 2432)),  # 2400 = 37.5 * 64, to the even one: 38
        ("informative-drawings", (1, 6000), (1, 6000)),
        ("controlnet-aux", (16, 4000), (64, 4096)),
        ("controlnet-aux", (1, 100_000), (64, 99_968)),  # as it is: strips do not grow
    ],
)
def test_sizes_at_which_pictures_are_fed(name: str, size: tuple[int, int], fed_at: tuple[int, int]) -> None:
    assert CONVENTIONS[name].resized(size) == fed_at


@pytest.mark.parametrize("longer", [1.0, 1.37, 3.9, 16.0])
def test_every_short_side_becomes_256_and_the_long_one_keeps_the_shape_cut_as_torchvision_does(longer: float) -> None:
    resized = CONVENTIONS["informative-drawings"].resized
    for short in range(7, 2901):
        long = int(short * longer)
        expected = tv.resize(torch.empty(1, short, long, device="meta"), [256]).shape[1:]
        assert resized((short, long)) == expected, (short, long)
        assert resized((long, short)) == (expected[1], expected[0]), (long, short)


def test_every_strip_grows_to_4096_and_no_further() -> None:
    for long in range(17, 4097):
        assert CONVENTIONS["informative-drawings"].resized((1, long)) == (4096 // long, 4096)


def test_controlnet_enlarges_by_lanczos_and_shrinks_by_area() -> None:
    for size, way in (((256, 384), cv2.INTER_LANCZOS4), ((1024, 1536), cv2.INTER_AREA)):
        picture = noise(size)
        expected = cv2.resize(picture, (768, 512), interpolation=way) / 255
        np.testing.assert_allclose(
            CONVENTIONS["controlnet-aux"].prepare(picture).transpose(1, 2, 0), expected, atol=1e-6
        )


@pytest.mark.parametrize("name", list(CONVENTIONS))
def test_the_input_has_the_size_that_was_said(name: str) -> None:
    convention = CONVENTIONS[name]
    assert convention.prepare(noise((60, 80))).shape == (3, *convention.resized((60, 80)))


def test_rgb_is_fed_as_0_to_1_and_below_8_pixels_the_border_goes_on() -> None:
    picture = np.array([[[255, 51, 0], [0, 102, 255]]], np.uint8)
    planes = CONVENTIONS["own-size"].prepare(picture)
    assert planes.shape == (3, 8, 8)
    np.testing.assert_allclose(planes[:, 0, 0], [1, 0.2, 0], atol=1e-6)
    np.testing.assert_allclose(planes[:, 7, 7], [0, 0.4, 1], atol=1e-6)


def test_colorizediffusion_feeds_0_to_255() -> None:
    assert (CONVENTIONS["colorizediffusion"].prepare(np.full((3, 3, 3), 200, np.uint8)) == 200).all()


def test_a_resized_sketch_stays_in_range_where_the_cubic_overshoots() -> None:
    step = np.zeros((1, 512, 512), np.float32)
    step[0, :, 256:] = 1
    assert_is_sketch(CONVENTIONS["colorizediffusion"].finish(step, (700, 701)), (700, 701))
