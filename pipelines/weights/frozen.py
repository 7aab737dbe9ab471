"""Finds the weights of frozen networks that do not ship: beside the checkpoint, else in the weight store.

`sd-vae` is Stable Diffusion's autoencoder, `ViT-H-14` OpenCLIP's image tower (laion2b_s32b_b79k). A released file
bundles its autoencoder, which then lies in the converted checkpoint and in all that is trained from it. The tiny
and the small size need none of them.
"""

import shutil
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dataprep.storage.store import exists, join, upload_directory
from model.checkpoint import load_checkpoint
from model.colorist import Colorist
from model.families.family import Family
from model.families.registry import family
from model.frozen.config import SHIPPED
from model.frozen.roles import LOADERS
from model.precision import Precision, dtype_of
from model.weights.catalogue import CATALOGUE
from model.weights.reading import sha256
from pipelines.common.errors import PipelineError
from pipelines.weights.checkpoints import fetch_checkpoint
from pipelines.weights.store import stored, stored_file, weights_name

BUNDLED = {"sd-vae", "ViT-H-14"}  # those that may lie in a checkpoint directory


def weights_file(network: str, checkpoint: Path | None = None) -> Path | None:
    """The file of the frozen network with this id, or None where it ships.

    checkpoint: a checkpoint directory that may hold it. Raises PipelineError, with the command that brings it, where it
    is absent.
    """
    if network in SHIPPED:
        return None
    if network not in CATALOGUE:
        raise PipelineError(f"there is no frozen network {network!r}")
    if checkpoint is not None and (path := Path(checkpoint) / weights_name(network)).is_file():
        return path
    return stored_file(network)


def weights_sha256(network: str, checkpoint: Path) -> str:
    """Of the weights that `weights_file` finds, "" where they ship or there is no such network.

    Of those in the store it is what their record holds.
    """
    if not network or network in SHIPPED:
        return ""
    if network in CATALOGUE and (path := Path(checkpoint) / weights_name(network)).is_file():
        return _hashed(path.resolve(), path.stat().st_mtime_ns)
    return stored(network).files[weights_name(network)]


@lru_cache(maxsize=8)
def _hashed(path: Path, changed_ns: int) -> str:
    """A file of gigabytes is read once for this, while it stays as it is."""
    return sha256(path)


def bundled_networks(checkpoint: str) -> dict[str, str]:
    """File name -> sha256 of the frozen networks that lie in the checkpoint at an address.

    A remote checkpoint is copied only where it holds one.
    """
    names = [weights_name(network) for network in sorted(BUNDLED)]
    if not any(exists(join(checkpoint, name)) for name in names):
        return {}
    paths = (fetch_checkpoint(checkpoint) / name for name in names)
    return {path.name: sha256(path) for path in paths if path.is_file()}


def copy_bundled(files: Mapping[str, str], parent: Path, checkpoint: str) -> None:
    """Copy what `bundled_networks` found in the parent into a checkpoint, a path or on S3.

    Raises PipelineError where the parent holds another file by now, or none.
    """
    with tempfile.TemporaryDirectory(prefix="irodori-frozen-") as scratch:
        for name, wanted in files.items():
            source, copy = Path(parent) / name, Path(scratch) / name
            if not source.is_file() or sha256(Path(shutil.copyfile(source, copy))) != wanted:
                raise PipelineError(f"{parent}/{name}: no longer the file that this stage started from")
        upload_directory(Path(scratch), checkpoint)


def check_frozen_networks(wanted: Family, config: Any, checkpoint: str | None) -> None:
    """Whether the weights of every frozen network are at hand, in the checkpoint at an address or in the store.

    Raises PipelineError, with the command that brings those that are not.
    """
    for network in wanted.frozen(config).values():
        if network in SHIPPED:
            continue
        if checkpoint is None or network not in CATALOGUE or not exists(join(checkpoint, weights_name(network))):
            weights_file(network)


def frozen_networks(wanted: Family, config: Any, checkpoint: Path | None = None) -> dict[str, nn.Module]:
    """The frozen networks around a family's network by role, on the CPU. Raises PipelineError or ModelError."""
    return {
        role: LOADERS[role](network, weights_file(network, checkpoint))
        for role, network in wanted.frozen(config).items()
    }


def open_colorist(
    checkpoint: Path,
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
    ema: bool = False,
    codec_precision: Precision | None = None,
) -> Colorist:
    """What colours with the network of a checkpoint directory and the frozen networks that it names.

    precision: of the weights and activations of all networks, unless the codec has a codec_precision of its own;
    samplers compute in float32. ema: with the moving average of the weights, which the checkpoint must hold. Raises
    PipelineError where the checkpoint's network colours nothing.
    """
    model, metadata = load_checkpoint(checkpoint, ema)
    found = family(metadata.family)
    if found.colorist is None:
        raise PipelineError(f"{checkpoint} is a {metadata.stage} checkpoint, whose network colours nothing")
    dtypes = {"codec": dtype_of(codec_precision or precision)}
    frozen = {
        role: network.to(device, dtypes.get(role, dtype_of(precision)))
        for role, network in frozen_networks(found, metadata.network, checkpoint).items()
    }
    return found.colorist(model.to(device, dtype_of(precision)), frozen, metadata)
