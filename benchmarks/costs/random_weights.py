"""Networks of the published shapes with random weights, in a weight store: what speed is measured on.

How long a network takes does not depend on its values. Results made with such a store mean nothing else, so nothing but
a benchmark uses it.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from model.weights.catalogue import CATALOGUE
from model.weights.reading import sha256
from pipelines.weights.store import StoredWeights, build_network, combined_sha256, weights_name

# What the published config.json of the taggers say (SmilingWolf on the model hub), as far as it decides the network.
_SWIN = ("swinv2_base_window8_256", {"act_layer": "gelu", "img_size": 448, "window_size": 14})
_VIT = {"class_token": False, "fc_norm": False, "global_pool": "avg", "img_size": 448}
TAGGERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "wd_swinv2_v2": (*_SWIN, 9083),
    "wd_swinv2_v3": (*_SWIN, 10861),
    "wd_vit_v3": ("vit_base_patch16_224", _VIT, 10861),
    "wd_convnext_v3": ("convnext_base", {}, 10861),
    "wd_vit_large_v3": ("vit_large_patch16_224", _VIT, 10861),
    "wd_eva02_large_v3": ("eva02_large_patch14_448", {}, 10861),
}
RATINGS = ("general", "sensitive", "questionable", "explicit")


def random_store(folder: Path, names: Iterable[str]) -> str:
    """Fill `folder` with random weights for networks of the catalogue, where they are not there; its address."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (folder / f"{name}.json").exists():
            _write(folder, name)
    return str(folder)


def _write(folder: Path, name: str) -> None:
    companions = tagger_companions(name) if CATALOGUE[name].companions else {}
    torch.manual_seed(0)
    network = build_network(name, companions)
    path = folder / weights_name(name)
    save_file({key: tensor.contiguous().clone() for key, tensor in network.state_dict().items()}, path)
    files = {path.name: sha256(path)}
    for companion, data in companions.items():
        (folder / f"{name}.{companion}").write_bytes(data)
        files[f"{name}.{companion}"] = hashlib.sha256(data).hexdigest()
    record = StoredWeights(name, combined_sha256(files), files, "random numbers", "", None, "none", "safetensors")
    (folder / f"{name}.json").write_bytes(record.text())


def tagger_companions(name: str) -> dict[str, bytes]:
    """config.json and selected_tags.csv of the published shape; the tags are made up."""
    architecture, arguments, classes = TAGGERS[name]
    config = {"architecture": architecture, "num_classes": classes, "global_pool": "avg", "model_args": arguments}
    rows = [f"{number},{rating},9,0" for number, rating in enumerate(RATINGS)]
    rows += [f"{number},tag_{number},0,0" for number in range(len(RATINGS), classes)]
    table = "\n".join(["tag_id,name,category,count", *rows]) + "\n"
    return {"config.json": json.dumps(config).encode(), "selected_tags.csv": table.encode()}
