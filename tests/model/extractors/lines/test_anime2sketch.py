"""Both Anime2Sketch networks agree with the released ones; their conventions do to a picture what public code does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from PIL import Image
from torch import nn

from model.extractors.lines.anime2sketch import CONVENTIONS, Anime2Sketch, Anime2SketchImproved, Binomial
from tests.model.golden import assert_golden, entries, golden, off, oracle, published_entries, with_rule_weights

NETWORKS = {"anime2sketch": Anime2Sketch, "anime2sketch_improved": Anime2SketchImproved}
SIZES = ((1, 1), (1, 9), (5, 3), (64, 300), (700, 512), (256, 257))
CONV_GAIN = 0.2
TOLERANCE = 2e-5  # the released networks in float32 are off their own float64 by 5e-6 and 1.1e-5


@contextmanager
def exact(network: nn.Module) -> Iterator[nn.Module]:
    """The network in float64: in float32 a CPU without AVX-512 is off by up to 9e-5 (oneDNN's kernels there)."""
    try:
        yield network.double()
    finally:
        network.float()


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return {name: with_rule_weights(build(), CONV_GAIN) for name, build in NETWORKS.items()}


@pytest.mark.parametrize(("name", "parameters"), [("anime2sketch", 54_405_505), ("anime2sketch_improved", 47_976_513)])
def test_keys_and_shapes_are_those_of_the_published_file(name: str, parameters: int) -> None:
    with torch.device("meta"):
        network = NETWORKS[name]()
    assert entries(network) == published_entries(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(("name", "released"), [("anime2sketch", "default"), ("anime2sketch_improved", "improved")])
def test_sketches_are_those_of_the_released_networks(networks: dict[str, nn.Module], name: str, released: str) -> None:
    x = 0.3 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(2))
    with exact(networks[name]) as network:
        assert_golden(network(x.double())[..., ::4, ::4], golden("anime2sketch")[0][released], TOLERANCE)


@pytest.mark.parametrize("name", NETWORKS)
def test_sketches_are_those_of_the_oracle(networks: dict[str, nn.Module], name: str) -> None:
    tensors, metadata = oracle(name)
    ruled = [weight for key, weight in networks[name].state_dict().items() if not key.endswith("smooth.kernel")]
    assert len(ruled) == int(metadata["weights_count"])
    total = sum(float(weight.double().abs().sum()) for weight in ruled)
    assert total == pytest.approx(float(metadata["weights_abs_sum"]), rel=1e-7)
    with exact(networks[name]) as network:
        assert_golden(network(tensors["x"].double()), tensors["out"], TOLERANCE)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_picture_gives_the_same_sketch_alone_and_in_a_batch(networks: dict[str, nn.Module], name: str) -> None:
    planes = 0.3 * torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(5)).double()
    with exact(networks[name]) as network:
        both = CONVENTIONS["released"].infer(network, planes)
        assert both.shape == (2, 256, 256)
        assert off(CONVENTIONS["released"].infer(network, planes[1:])[0], both[1]) <= 1e-5


def test_sides_may_be_different_multiples_of_256(networks: dict[str, nn.Module]) -> None:
    assert networks["anime2sketch"](torch.zeros(1, 3, 256, 512)).shape == (1, 1, 256, 512)


def test_the_smoothing_filter_keeps_an_even_plane_to_its_border_and_spreads_a_point_binomially() -> None:
    smooth = Binomial()
    assert torch.allclose(smooth(torch.full((1, 2, 3, 5), 0.7)), torch.tensor(0.7))
    point = torch.zeros(1, 2, 5, 5)
    point[0, 1, 2, 2] = 16
    assert smooth(point)[0, 1, 1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert not smooth(point)[0, 0].any()


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("size", SIZES)
def test_any_size_comes_back_as_a_sketch(name: str, size: tuple[int, int]) -> None:
    convention = CONVENTIONS[name]
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    fed = convention.prepare(picture)
    assert fed.dtype == np.float32
    assert fed.shape[1] % 256 == fed.shape[2] % 256 == 0
    assert fed.min() >= -1
    assert fed.max() <= 1
    assert convention.prepare(picture[..., 0]).shape == fed.shape
    output = np.tanh(np.random.default_rng(1).normal(0, 2, fed.shape[1:])).astype(np.float32)
    sketch = convention.finish(output, size)
    assert (sketch.shape, sketch.dtype) == (size, np.dtype(np.float32))
    assert sketch.min() >= 0
    assert sketch.max() <= 1


def test_released_squashes_as_torchvision_does_and_scales_to_one() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 700, 3), dtype=np.uint8)
    small = tv.resize(Image.fromarray(picture), [512, 512], tv.InterpolationMode.BICUBIC)
    expected = tv.normalize(tv.pil_to_tensor(small) / 255, [0.5] * 3, [0.5] * 3)
    assert np.allclose(CONVENTIONS["released"].prepare(picture), expected.numpy(), atol=1e-6)


def test_released_gives_what_a_sketch_of_8_bits_would_be_resized_to() -> None:
    output = np.tanh(np.random.default_rng(1).normal(0, 2, (512, 512))).astype(np.float32)
    released = Image.fromarray(((output + 1) / 2 * 255).astype(np.uint8)).resize((90, 70), Image.Resampling.BICUBIC)
    assert np.abs(CONVENTIONS["released"].finish(output, (70, 90)) * 255 - np.asarray(released)).max() <= 1.6


@pytest.mark.parametrize(
    ("name", "size", "fed"),
    [
        ("multiple-256", (256, 512), (256, 512)),
        ("multiple-256", (257, 100), (512, 256)),
        ("controlnet-aux", (1024, 1024), (512, 512)),
        ("controlnet-aux", (300, 400), (512, 768)),  # 512 x 682.7, to 64: 512 x 704
        ("controlnet-aux", (256, 2048), (512, 4096)),  # the longest that a strip grows to
        ("controlnet-aux", (16, 4000), (256, 4096)),  # 16.4 x 4096, to 64: 64 x 4096
        ("controlnet-aux", (4000, 1), (4096, 256)),
        ("controlnet-aux", (20, 6000), (256, 6144)),  # strips beyond it do not grow: 64 x 6016
        ("colorizediffusion-xl", (300, 400), (768, 768)),
    ],
)
def test_the_size_that_is_fed(name: str, size: tuple[int, int], fed: tuple[int, int]) -> None:
    assert CONVENTIONS[name].prepare(np.zeros((*size, 3), np.uint8)).shape == (3, *fed)


def test_a_picture_of_full_multiples_is_neither_stretched_nor_brought_back() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (256, 512, 3), dtype=np.uint8)
    fed = CONVENTIONS["multiple-256"].prepare(picture)
    assert np.allclose(fed.transpose(1, 2, 0), picture / 127.5 - 1, atol=1e-6)
    output = fed[0]
    assert np.allclose(CONVENTIONS["multiple-256"].finish(output, (256, 512)) * 255, picture[..., 0], atol=1e-3)


def test_controlnet_aux_shrinks_by_area_stretches_bicubically_and_comes_back_in_the_same_steps() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1100, 1500, 3), dtype=np.uint8)
    detected = cv2.resize(picture, (704, 512), interpolation=cv2.INTER_AREA)  # 512 x 698.2, to 64
    stretched = cv2.resize(detected, (768, 512), interpolation=cv2.INTER_CUBIC)
    fed = CONVENTIONS["controlnet-aux"].prepare(picture)
    assert np.allclose(fed.transpose(1, 2, 0), stretched / 127.5 - 1, atol=1e-6)
    lines = cv2.resize(fed[1] * 127.5 + 127.5, (704, 512), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    expected = cv2.resize(lines, (1500, 1100), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(CONVENTIONS["controlnet-aux"].finish(fed[1], (1100, 1500)) * 255, expected, atol=1e-2)


def test_controlnet_aux_enlarges_by_lanczos() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (256, 384, 3), dtype=np.uint8)
    enlarged = cv2.resize(picture, (768, 512), interpolation=cv2.INTER_LANCZOS4)  # multiples of 256 already
    assert np.allclose(
        CONVENTIONS["controlnet-aux"].prepare(picture).transpose(1, 2, 0), enlarged / 127.5 - 1, atol=1e-6
    )


def test_settings_are_json_and_bear_the_names_they_are_listed_under() -> None:
    for name, convention in CONVENTIONS.items():
        assert json.loads(json.dumps(asdict(convention)))["name"] == name
    assert next(iter(CONVENTIONS)) == "released"
