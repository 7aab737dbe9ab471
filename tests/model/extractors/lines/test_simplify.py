"""Simplifier against numbers of released code, and its two conventions by hand.

The numbers come from the network of aidreamwin/sketch_simplification_pytorch with weights by rule, of a gain (1.8) at
which its lines are not all one gray.
"""

import numpy as np
import pytest
import torch

from model.extractors.lines.simplify import CONVENTIONS, Simplifier
from model.weights.catalogue import CATALOGUE
from tests.model.extractors.feeding import SIZES, assert_is_sketch, noise, sketches
from tests.model.golden import assert_golden, entries, golden, off, with_rule_weights

GAIN = float(golden("simplify")[1]["conv_gain"])
PUBLISHED = {"layer1": 4, "layer2": 3, "layer3": 5, "layer4": 4, "layer5": 3, "layer6": 2, "layer7": 2}


@pytest.fixture(scope="module")
def network() -> Simplifier:
    return with_rule_weights(Simplifier(), GAIN)


def test_entries_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = Simplifier()
    keys = [
        f"{name}.{2 * i}.{kind}"
        for name, count in PUBLISHED.items()
        for i in range(count)
        for kind in ("weight", "bias")
    ]
    assert list(entries(network)) == keys
    assert sum(parameter.numel() for parameter in network.parameters()) == 44_387_249


@torch.inference_mode()
def test_lines_are_those_of_the_released_network(network: Simplifier) -> None:
    tensors, _ = golden("simplify")
    taps: list[torch.Tensor] = []
    hook = network.get_submodule("layer5").register_forward_hook(
        lambda module, given, output: taps.append(output[:, :16].clone())
    )
    assert_golden(network(tensors["x"]), tensors["out"], 1e-5)
    hook.remove()
    assert_golden(taps[0], tensors["tap.layer5[:, :16]"], 1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(("precision", "limit"), [("float16", 1e-2), ("bfloat16", 5e-2)])
def test_half_precision_is_offered_where_the_lines_hold_to_a_hundredth(precision: str, limit: float) -> None:
    dtype, tensors = getattr(torch, precision), golden("simplify")[0]
    error = off(with_rule_weights(Simplifier(), GAIN).to(dtype)(tensors["x"].to(dtype)), tensors["out"])
    assert error < limit
    assert (precision in Simplifier.half_precision) == (error < 1e-2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", list(CONVENTIONS))
def test_pictures_of_any_size_give_lines_of_that_size(network: Simplifier, name: str, size: tuple[int, int]) -> None:
    assert_is_sketch(sketches(network, CONVENTIONS[name], noise(size, 1))[0], size)


@torch.inference_mode()
def test_a_picture_has_the_same_lines_alone_and_in_a_batch(network: Simplifier) -> None:
    pictures = golden("simplify")[0]["x"]
    alone = torch.cat([network(picture[None]) for picture in pictures])
    torch.testing.assert_close(alone, network(pictures), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "white", "black"),
    [
        ("gan", 0.391301, -11.258534),  # (1 - mean) / std and -mean / std, worked out by hand
        ("mse", 0.390948, -11.259086),
    ],
)
def test_gray_is_standardised_and_the_border_goes_on(name: str, white: float, black: float) -> None:
    planes = CONVENTIONS[name].prepare(np.array([[255, 0]], np.uint8))
    assert planes.shape == (1, 8, 8)
    np.testing.assert_allclose(planes[0, :, 0], white, atol=3e-6)
    np.testing.assert_allclose(planes[0, :, 1:], black, atol=3e-6)


def test_colours_are_taken_by_their_luma() -> None:
    picture = noise((9, 17))
    luma = np.rint(picture @ [0.299, 0.587, 0.114])
    found = CONVENTIONS["gan"].prepare(picture)[0, :9, :17] * 0.0858381272736797 + 0.9664114577640158
    np.testing.assert_allclose(found * 255, luma, atol=1.001)


def test_the_output_is_cut_to_the_picture() -> None:
    output = np.arange(64, dtype=np.float32).reshape(1, 8, 8) / np.float32(64)
    assert CONVENTIONS["mse"].finish(output, (2, 3)).tolist() == (output[0, :2, :3]).tolist()


def test_every_published_file_has_the_convention_of_its_name() -> None:
    files = [name for name, published in CATALOGUE.items() if published.network.endswith(":Simplifier")]
    assert files == [f"simplify_{name}" for name in CONVENTIONS]
