"""Small published files: the head of the aesthetic score, and a tagger of a few thousand weights, by rule."""

import csv
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from model.extractors.labels.aesthetic import AestheticHead
from model.extractors.labels.wd_tagger import from_config
from tests.model.extractors.labels.wd_files import FED
from tests.model.golden import with_rule_weights

HEAD, TAGGER = "aesthetic_v25", "wd_vit_v3"
_LABELS = (*(("general", "9"), ("sensitive", "9"), ("questionable", "9"), ("explicit", "9")), ("1girl", "0"))


def head_tensors() -> dict[str, torch.Tensor]:
    """As its authors publish it, in bfloat16."""
    return {key: tensor.to(torch.bfloat16) for key, tensor in with_rule_weights(AestheticHead()).state_dict().items()}


def head_file(folder: Path, content: Any = None) -> Path:
    """The published file name with the head's tensors, or another content."""
    path = folder / "aesthetic_predictor_v2_5.pth"
    torch.save(head_tensors() if content is None else content, path)
    return path


def tagger_folder(folder: Path) -> Path:
    """A published tagger's three files, tiny."""
    rows = [{"tag_id": "1", "name": name, "category": category, "count": "9"} for name, category in _LABELS]
    config = {
        "architecture": "vit_base_patch16_224",
        "num_classes": len(rows),
        "global_pool": "avg",
        "model_args": {
            "class_token": False,
            "fc_norm": False,
            "global_pool": "avg",
            "img_size": 448,
            "embed_dim": 32,
            "depth": 1,
            "num_heads": 2,
        },
        "pretrained_cfg": FED,
    }
    network = with_rule_weights(from_config({"config.json": config, "selected_tags.csv": rows}))
    made = folder / "tagger"
    made.mkdir()
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, made / "model.safetensors")
    (made / "config.json").write_text(json.dumps(config))
    with (made / "selected_tags.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return made
