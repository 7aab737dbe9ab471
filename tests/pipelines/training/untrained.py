"""A tiny checkpoint with random weights, and a small corpus of assembled drawings: all that pipelines need to run."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dataprep.pictures.assembled import shipped_templates
from model.checkpoint import CheckpointMetadata, save_checkpoint
from model.families.v1.network import V1
from model.families.v1.sizes import V1_SIZES
from model.families.v2.network import V2
from model.families.v2.sizes import V2_SIZES
from model.families.v15.network import V15
from model.families.v15.sizes import V15_SIZES
from model.frozen.codec import load_codec
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.corpora import CORPUS_RECIPES
from tests.corpus_pictures import write_pictures


def write_checkpoint(
    folder: Path,
    width: int = 64,
    height: int = 64,
    seed: int = 0,
    ema: Mapping[str, torch.Tensor] | None = None,
    **changes: Any,
) -> str:
    """A `v1.noisy` checkpoint whose result depends on everything: layers that start at zero are random too."""
    torch.manual_seed(seed)
    model = V1(V1_SIZES["tiny"])
    for parameter in model.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.05)
    metadata = CheckpointMetadata(
        stage="v1.noisy",
        size="tiny",
        scaling_factor=load_codec("tiny").scaling_factor,
        codec="tiny",
        image_encoder="tiny",
        code_version="test",
        width=width,
        height=height,
    )
    save_checkpoint(folder, model, replace(metadata, **changes), ema)
    return str(folder)


def write_parted_checkpoint(folder: Path, family: str = "v15") -> str:
    """A `v15.split` or `v2.style` checkpoint of 64 x 64 pixels whose result depends on everything."""
    torch.manual_seed(1)
    model = V15(V15_SIZES["tiny"]) if family == "v15" else V2(V2_SIZES["tiny"])
    for parameter in model.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.05)
    metadata = CheckpointMetadata(
        family=family,
        stage="v15.split" if family == "v15" else "v2.style",
        size="tiny",
        scaling_factor=load_codec("tiny").scaling_factor,
        codec="tiny",
        image_encoder="tiny",
        code_version="test",
        width=64,
        height=64,
    )
    save_checkpoint(folder, model, metadata)
    return str(folder)


def write_corpus(folder: Path, drawings: int = 16, size: int = 96, colorings: int = 1) -> str:
    """A corpus of as many assembled drawings, half of them held out; colorings: rows of each, which are a group."""
    source = folder / "pictures"
    source.mkdir(parents=True)
    templates = list(shipped_templates().values())
    chosen = templates[:: len(templates) // drawings][:drawings]
    lines = [json.dumps({"id": t.id, "style": t.style, "tags": t.tags, "svg": t.svg}) for t in chosen]
    (source / "some.jsonl").write_text("\n".join(lines))
    (source / "assembled.json").write_text(
        json.dumps({"templates": ["some.jsonl"], "colorings": colorings, "size": size})
    )
    out = str(folder / "corpus")
    run_build([str(source)], out, replace(CORPUS_RECIPES["demo"], validation_share=0.5), engine=in_process)
    return out


def write_opaque_corpus(folder: Path) -> str:
    """A corpus of eight pictures without transparency, half of them held out."""
    write_pictures(folder / "pictures", 8, width=200, height=160)
    out = str(folder / "corpus")
    recipe = replace(CORPUS_RECIPES["demo"], validation_share=0.5)
    run_build([str(folder / "pictures")], out, recipe, engine=in_process)
    return out
