"""The networks as their authors released them, imported at run time from checkouts of their repositories.

The measure of model.extractors: the same weights, the same input, the same machine. Nothing of these repositories is
part of this project; their code is run as it is, so only checkouts that you trust belong here.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

Run = Callable[[torch.Tensor], torch.Tensor]  # (N, C, h, w), as our convention feeds it -> what ours gives


@dataclass(frozen=True)
class Released:
    """A network in `file` of a repository; `make(module, weights)` loads our weights into it; `call` runs it."""

    repository: str
    file: str
    make: Callable[[ModuleType, Mapping[str, torch.Tensor]], nn.Module]
    call: Callable[[nn.Module, torch.Tensor], torch.Tensor]


def _class(name: str) -> Callable[[ModuleType, Mapping[str, torch.Tensor]], nn.Module]:
    def make(module: ModuleType, weights: Mapping[str, torch.Tensor]) -> nn.Module:
        network: nn.Module = getattr(module, name)()
        network.load_state_dict(weights)
        return network

    return make


def _anime2sketch(kind: str, file: str) -> Callable[[ModuleType, Mapping[str, torch.Tensor]], nn.Module]:
    """Its own loader reads its file below the working directory, which the caller gives."""

    def make(module: ModuleType, weights: Mapping[str, torch.Tensor]) -> nn.Module:
        Path("weights").mkdir(exist_ok=True)
        torch.save(dict(weights), Path("weights") / file)
        network: nn.Module = module.create_model(kind)
        return network

    return make


RELEASED: Mapping[str, Released] = {
    "sketch_keras": Released(
        "sketchKeras-pytorch",
        "src/model.py",
        _class("SketchKeras"),
        lambda network, planes: network(planes.flatten(0, 1)[:, None]).view_as(planes).amax(1),
    ),
    "manga_line": Released("MangaLineExtraction_PyTorch", "model_torch.py", _class("res_skip"), nn.Module.__call__),
    "anime2sketch": Released("Anime2Sketch", "model.py", _anime2sketch("default", "netG.pth"), nn.Module.__call__),
    "anime2sketch_improved": Released(
        "Anime2Sketch", "model.py", _anime2sketch("improved", "improved.bin"), nn.Module.__call__
    ),
    "isnetis": Released(
        "anime-segmentation",
        "model/isnet.py",
        _class("ISNetDIS"),
        lambda network, planes: network(planes)[0][0].sigmoid(),
    ),
}


def released_network(name: str, checkouts: Path, weights: Mapping[str, torch.Tensor], folder: Path) -> Run | None:
    """The released network of that name in the catalogue with our weights; None where no checkout is there.

    Changes the working directory to `folder`: meant for a process of its own.
    """
    known = RELEASED.get(name)
    found = sorted(checkouts.absolute().glob(f"*{known.repository}")) if known else []
    if known is None or not found or not (found[0] / known.file).exists():
        return None
    os.chdir(folder)
    network = known.make(_module(found[0] / known.file), weights).eval().requires_grad_(False)
    return lambda planes: known.call(network, planes)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"released_{path.stem}", path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader: Any = spec.loader
    sys.modules[spec.name] = module
    loader.exec_module(module)
    return module
