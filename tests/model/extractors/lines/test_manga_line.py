"""MangaLine against numbers of the released code, and its three conventions by hand."""

import numpy as np
import pytest
import torch

from model.extractors.convention import Picture
from model.extractors.lines.manga_line import CONVENTIONS, MangaLine
from tests.model.extractors.feeding import SIZES, assert_is_sketch, fed, noise, sketches
from tests.model.golden import assert_golden, entries, golden, off, published_entries, with_rule_weights

GAIN = float(golden("mangaline")[1]["conv_gain"])


@pytest.fixture(scope="module")
def network() -> MangaLine:
    return with_rule_weights(MangaLine(), GAIN)


def test_entries_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = MangaLine()
    assert entries(network) == published_entries("mangaline")
    assert sum(parameter.numel() for parameter in network.parameters()) == 43_100_147


def test_weights_by_rule_are_those_of_the_golden_run(network: MangaLine) -> None:
    total = sum(float(tensor.double().abs().sum()) for tensor in network.state_dict().values())
    assert total == pytest.approx(float(golden("mangaline")[1]["weights_abs_sum"]), rel=1e-7)


@torch.inference_mode()
def test_lines_are_those_of_the_released_network(network: MangaLine) -> None:
    tensors, _ = golden("mangaline")
    taps: list[torch.Tensor] = []
    hook = network.get_submodule("block4").register_forward_hook(
        lambda module, given, output: taps.append(output[:, :32].clone())
    )
    assert_golden(network(tensors["x"]), tensors["out"], 5e-6)
    hook.remove()
    assert_golden(taps[0], tensors["tap.block4[:, :32]"], 5e-6)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("precision", "limit"), [pytest.param("float16", 1e-2, marks=pytest.mark.slow), ("bfloat16", 5e-2)]
)
def test_half_precision_is_offered_where_the_golden_lines_hold_to_a_hundredth(precision: str, limit: float) -> None:
    dtype, tensors = getattr(torch, precision), golden("mangaline")[0]
    error = off(with_rule_weights(MangaLine(), GAIN).to(dtype)(tensors["x"].to(dtype)), tensors["out"])
    assert error < limit
    assert (precision in MangaLine.half_precision) == (error < 1e-2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["gray-replicate", "reference"])
def test_pictures_of_any_size_give_lines_of_that_size(network: MangaLine, name: str, size: tuple[int, int]) -> None:
    for channels in (1, 3):
        assert_is_sketch(sketches(network, CONVENTIONS[name], noise(size, channels))[0], size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_squashed_picture_comes_back_at_its_size(channels: int, size: tuple[int, int]) -> None:
    value = fed(CONVENTIONS["colorizediffusion"], noise(size, channels), 51)
    assert_is_sketch(value, size)
    np.testing.assert_allclose(value, 0.2, atol=1e-6)


def test_a_picture_has_the_same_lines_alone_and_in_a_batch(network: MangaLine) -> None:
    convention = CONVENTIONS["gray-replicate"]
    pictures = noise((20, 33)), noise((20, 33))[::-1]
    together = sketches(network, convention, *pictures)
    for picture, expected in zip(pictures, together, strict=True):
        np.testing.assert_allclose(sketches(network, convention, picture)[0], expected, atol=1e-5)


@pytest.mark.parametrize(("name", "border"), [("gray-replicate", 124), ("reference", 1)])
def test_gray_is_fed_as_0_to_255_with_the_border_of_the_convention(name: str, border: int) -> None:
    planes = CONVENTIONS[name].prepare(_two_pixels())
    assert planes.shape == (1, 16, 16)
    assert planes[0, 0, :2].tolist() == [255, 124]  # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    assert (planes[0, :, 2:] == border).all()
    assert (planes[0, 1:, 1] == border).all()


def test_colorizediffusion_feeds_the_red_channel_at_512() -> None:
    planes = CONVENTIONS["colorizediffusion"].prepare(_two_pixels()[:, 1:])
    assert planes.shape == (1, 512, 512)
    assert (planes == 200).all()


def test_the_output_is_cut_to_the_picture_and_to_0_to_255() -> None:
    output = np.full((1, 16, 16), -99, np.float32)
    output[0, 0, :3] = -20, 127.5, 300
    assert CONVENTIONS["gray-replicate"].finish(output, (1, 3)).tolist() == [[0, 0.5, 1]]


def test_the_default_repeats_the_border() -> None:
    assert next(iter(CONVENTIONS)) == "gray-replicate"
    assert all(convention.name == name for name, convention in CONVENTIONS.items())


def _two_pixels() -> Picture:
    return np.array([[[255, 255, 255], [200, 100, 50]]], np.uint8)
