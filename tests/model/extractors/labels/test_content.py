"""The content network against its own Keras topology, layer by layer, and what a picture becomes before it."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dataprep.pictures.decode import decode
from model.errors import ModelError
from model.extractors.labels.content import CLASSES, CONVENTIONS, ContentNet, from_package, verdict
from model.extractors.labels.tfjs import read_bundle
from pipelines.weights.packages import unpack
from tests.model.extractors.labels.content_weights import lively_network
from tests.model.extractors.labels.tfjs_package import Quantized, quantized, write_bundle
from tests.model.golden import ASSETS, off

ROOT = Path(__file__).parents[4]
SPRITES = ROOT / "dataprep" / "assets" / "pictures" / "sprites"
STORYBOOK = ROOT.parent / "shared" / "data" / "storybook" / "images"
IN_PACKAGE = Path("dist", "models", "inception_v3")
SIZES = [(1, 1), (1, 37), (5, 3), (64, 300)]

Layer = tuple[str, str, Sequence[str], Mapping[str, Any]]  # name, kind, the layers before it, settings


def published_layers() -> list[Layer]:
    return [tuple(layer) for layer in json.loads((ASSETS / "nsfwjs_topology.json").read_text())]


@pytest.fixture(scope="module")
def tensors() -> dict[str, Quantized]:
    """8-bit weights under the published names, drawn so that values neither vanish nor grow."""
    rng = np.random.default_rng(0)
    widths, tensors = {"input_1": 3}, {}
    for name, kind, before, settings in published_layers()[1:]:
        width = sum(widths[source] for source in before)
        if kind == "Conv2D":
            shape = (*settings["kernel_size"], width, settings["filters"])
            tensors[f"{name}/kernel"] = quantized(rng.standard_normal(shape) * 1.4 / np.prod(shape[:3]) ** 0.5)
        elif kind == "BatchNormalization":
            tensors[f"{name}/beta"] = quantized(rng.standard_normal(width) * 0.1)
            tensors[f"{name}/moving_mean"] = quantized(rng.standard_normal(width) * 0.1)
            tensors[f"{name}/moving_variance"] = quantized(np.abs(rng.standard_normal(width)) + 0.5)
        elif kind == "Dense":
            shape = (width, settings["units"])
            tensors[f"{name}/kernel"] = quantized(rng.standard_normal(shape) * 1.4 / width**0.5)
            tensors[f"{name}/bias"] = quantized(rng.standard_normal((settings["units"],)) * 0.1)
        widths[name] = settings.get("filters", settings.get("units", width))
    return tensors


def run_topology(tensors: Mapping[str, np.ndarray], images: torch.Tensor) -> torch.Tensor:
    """The published layers one after another, as Keras defines them."""
    weights = {name: torch.from_numpy(value.astype(np.float32)) for name, value in tensors.items()}
    values = {"input_1": images}
    for name, kind, before, settings in published_layers()[1:]:
        x = torch.cat([values[source] for source in before], 1)
        sides = [side // 2 for side in settings.get("kernel_size", settings.get("pool_size", ()))]
        padding = sides if settings.get("padding") == "same" else [0] * len(sides)
        if kind == "Conv2D":
            x = F.conv2d(x, weights[f"{name}/kernel"].permute(3, 2, 0, 1), None, settings["strides"], padding)
        elif kind == "BatchNormalization":
            mean, variance, beta = (weights[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "beta"))
            x = F.batch_norm(x, mean, variance, None, beta, eps=settings["epsilon"])
        elif kind == "MaxPooling2D":
            x = F.max_pool2d(x, settings["pool_size"], settings["strides"])
        elif kind == "AveragePooling2D":
            x = F.avg_pool2d(x, settings["pool_size"], settings["strides"], padding, count_include_pad=False)
        elif kind == "Flatten":
            x = x.permute(0, 2, 3, 1).flatten(1)
        elif kind == "Dense":
            x = x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]
        x = {"relu": torch.relu, "softmax": lambda y: y.softmax(1)}.get(settings.get("activation", ""), lambda y: y)(x)
        values[name] = x
    return x


def images(count: int, side: int = 299) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> ContentNet:
    return lively_network()


@torch.inference_mode()
def test_a_packages_weights_make_the_network_that_its_topology_describes(
    tmp_path: Path, tensors: dict[str, Quantized]
) -> None:
    write_bundle(tmp_path / IN_PACKAGE, {"model_config": {}}, tensors, shards=6)
    network = ContentNet().eval()
    network.load_state_dict(from_package(tmp_path))
    expected = run_topology({name: tensor.values() for name, tensor in tensors.items()}, images(1))
    assert off(network(images(1)), expected) < 1e-5
    assert off(network(images(1) * 0), expected) > 1e-3  # the picture matters


def test_the_network_has_the_94_convolutions_and_the_parameters_of_the_package(tensors: dict[str, Quantized]) -> None:
    with torch.device("meta"):
        entries = ContentNet().state_dict()
    assert len(entries) == 2 * (94 + 3)
    stored = sum(tensor.steps.size for tensor in tensors.values())
    folded = sum(settings["filters"] * 2 for _, kind, _, settings in published_layers() if kind == "Conv2D")
    assert sum(value.numel() for value in entries.values()) == stored - folded == 22_326_437


@pytest.mark.parametrize(
    ("kept", "lost"), [(4, "conv2d_2/kernel"), (3, "batch_normalization_1/moving_variance"), (-1, "dense_3/bias")]
)
def test_a_package_without_a_tensor_is_refused_by_its_name(
    tmp_path: Path, tensors: dict[str, Quantized], kept: int, lost: str
) -> None:
    write_bundle(tmp_path / IN_PACKAGE, {}, {name: tensors[name] for name in list(tensors)[:kept]})
    with pytest.raises(ModelError, match=lost):
        from_package(tmp_path)


def test_a_package_with_a_tensor_of_another_network_is_refused_by_its_name(
    tmp_path: Path, tensors: dict[str, Quantized]
) -> None:
    write_bundle(tmp_path / IN_PACKAGE, {}, tensors | {"conv2d_95/kernel": quantized(np.ones((1, 1)))})
    with pytest.raises(ModelError, match="unknown tensors: conv2d_95/kernel"):
        from_package(tmp_path)


@torch.inference_mode()
def test_a_picture_gets_the_same_answer_alone_and_in_a_batch(network: ContentNet) -> None:
    together = network(images(3, side=107))
    alone = torch.cat([network(image[None]) for image in images(3, side=107)])
    assert off(alone, together) < 1e-5
    assert torch.allclose(together.sum(1), torch.ones(3))


@torch.inference_mode()
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_the_answer_holds_in_half_precision(network: ContentNet, precision: torch.dtype) -> None:
    half = lively_network().to(precision)
    assert str(precision).removeprefix("torch.") in ContentNet.half_precision
    small = images(2, side=107) * torch.tensor([1, 0.3])[:, None, None, None]  # half precision is slow on CPUs
    answers = network(small)
    assert (answers[0] - answers[1]).abs().max() > 0.05
    assert off(half(small.to(precision)), answers) < 1e-2


def test_a_picture_is_stretched_corner_to_corner_between_its_pixels() -> None:
    convention = CONVENTIONS["nsfwjs"]
    ramp = np.zeros((2, 3, 3), np.uint8)
    ramp[..., 0] = [[0, 100, 200], [50, 150, 250]]  # 100 x + 50 y
    ramp[..., 2] = 7
    down, along = np.mgrid[0:1:299j, 0:2:299j]
    prepared = convention.prepare(ramp)
    np.testing.assert_allclose(prepared[0] * 255, 100 * along + 50 * down, atol=1e-4)
    np.testing.assert_allclose(prepared[1:] * 255, np.broadcast_to([[[0]], [[7]]], (2, 299, 299)), atol=1e-5)


def test_a_large_picture_is_sampled_and_not_averaged() -> None:
    stripes = np.zeros((10, 597, 3), np.uint8)  # every second column, (597 - 1) / (299 - 1) = 2
    stripes[:, ::2] = 255
    assert CONVENTIONS["nsfwjs"].prepare(stripes).min() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_any_size_become_one_square(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    prepared = CONVENTIONS["nsfwjs"].prepare(picture)
    assert (prepared.shape, prepared.dtype) == ((3, 299, 299), np.dtype(np.float32))
    corners = [prepared[:, y, x] * 255 for y in (0, -1) for x in (0, -1)]
    expected = [np.repeat(picture[y, x], 3) for y in (0, -1) for x in (0, -1)]
    np.testing.assert_allclose(corners, expected, atol=1e-4)
    in_colour = CONVENTIONS["nsfwjs"].prepare(np.repeat(picture[..., None], 3, axis=2))
    np.testing.assert_array_equal(prepared, in_colour)


def test_an_answer_is_named_classes_of_which_two_are_drawn_and_three_unsafe() -> None:
    answer = CONVENTIONS["nsfwjs"].finish(np.array([0.5, 0.2, 0.15, 0.1, 0.05], np.float32), (10, 20))
    assert list(answer) == list(CLASSES) == ["Drawing", "Hentai", "Neutral", "Porn", "Sexy"]
    assert json.loads(json.dumps(answer)) == answer
    assert verdict(answer) == pytest.approx({"drawing": 0.7, "unsafe": 0.35}, abs=1e-6)


# ---- the published weights -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm to get the package nsfwjs with")
    folder = tmp_path_factory.mktemp("nsfwjs")
    got = subprocess.run([npm, "pack", "nsfwjs@4.4.0"], cwd=folder, capture_output=True, timeout=300, check=False)
    if got.returncode:
        pytest.skip("npm cannot get the package nsfwjs")
    return unpack(next(folder.glob("*.tgz")), folder)


@pytest.fixture(scope="session")
def published(package: Path) -> ContentNet:
    network = ContentNet().eval()
    network.load_state_dict(from_package(package))
    return network


def judged(network: ContentNet, path: Path) -> dict[str, float]:
    convention = CONVENTIONS["nsfwjs"]
    planes = torch.from_numpy(convention.prepare(decode(path.read_bytes()).rgb))
    with torch.inference_mode():
        return verdict(convention.finish(convention.infer(network, planes[None])[0].numpy(), (1, 1)))


@pytest.mark.slow
@torch.inference_mode()
def test_the_published_package_has_this_topology_and_its_weights_give_what_it_describes(
    package: Path, published: ContentNet
) -> None:
    topology, tensors = read_bundle(package / IN_PACKAGE)
    layers = topology["model_config"]["config"]["layers"]
    expected = published_layers()
    assert [layer["name"] for layer in layers] == [name for name, *_ in expected]
    for layer, (_, kind, before, settings) in zip(layers, expected, strict=True):
        assert (layer["class_name"], [node[0] for nodes in layer["inbound_nodes"] for node in nodes]) == (kind, before)
        assert {name: layer["config"][name] for name in settings} == settings
    assert off(published(images(1)), run_topology(tensors, images(1))) < 1e-5


@pytest.mark.slow
def test_drawn_characters_are_told_from_backgrounds_made_of_photographs(published: ContentNet) -> None:
    characters = [judged(published, path)["drawing"] for path in sorted(SPRITES.glob("*.webp"))]
    backgrounds = [judged(published, path)["drawing"] for path in sorted(SPRITES.glob("*.jpg"))]
    assert (len(characters), len(backgrounds)) == (8, 4)
    assert min(characters) > 0.95
    assert max(backgrounds) < 0.5


@pytest.mark.slow
def test_storybook_pictures_are_safe(published: ContentNet) -> None:
    pictures = sorted(STORYBOOK.glob("*"))[:20]
    if not pictures:
        pytest.skip("the storybook pictures are not beside this checkout")
    unsafe = [judged(published, path)["unsafe"] for path in pictures]
    assert np.median(unsafe) < 0.1
