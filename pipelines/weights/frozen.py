"""Finds the weights of frozen networks that do not ship: beside the checkpoint, else in the weight store.

`sd-vae` is Stable Diffusion's autoencoder, `ViT-H-14` OpenCLIP's image tower (laion2b_s32b_b79k). A released file
bundles its autoencoder, which then travels with the converted checkpoint and with all that is trained from it. The tiny
size needs none of them.
"""

import shutil
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch

from dataprep.storage.store import upload_directory
from model.checkpoint import read_metadata
from model.diffusion.memory import Precision
from model.diffusion.pipeline import ColorizationPipeline
from model.weights.catalogue import CATALOGUE
from model.weights.reading import sha256
from pipelines.common.errors import PipelineError
from pipelines.weights.store import stored, stored_file, weights_name

SHIPPED = {"tiny"}
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
    """Of the weights that `weights_file` finds, "" where they ship. Those in the store are what its record says."""
    if network in SHIPPED:
        return ""
    if network in CATALOGUE and (path := Path(checkpoint) / weights_name(network)).is_file():
        return _hashed(path.resolve(), path.stat().st_mtime_ns)
    return stored(network).files[weights_name(network)]


@lru_cache(maxsize=8)
def _hashed(path: Path, changed_ns: int) -> str:
    """A file of gigabytes is read once for this, while it stays as it is."""
    return sha256(path)


def travelling(checkpoint: Path) -> dict[str, str]:
    """File name -> sha256 of the frozen networks that lie in a checkpoint directory."""
    paths = (Path(checkpoint) / weights_name(network) for network in sorted(BUNDLED))
    return {path.name: sha256(path) for path in paths if path.is_file()}


def hand_on(files: Mapping[str, str], parent: Path, checkpoint: str) -> None:
    """Copy what `travelling` found in the parent into a checkpoint, a path or on S3.

    Raises PipelineError where the parent holds another file by now, or none.
    """
    with tempfile.TemporaryDirectory(prefix="irodori-frozen-") as scratch:
        for name, wanted in files.items():
            source, copy = Path(parent) / name, Path(scratch) / name
            if not source.is_file() or sha256(Path(shutil.copyfile(source, copy))) != wanted:
                raise PipelineError(f"{parent}/{name}: no longer the file that this stage started from")
        upload_directory(Path(scratch), checkpoint)


def open_pipeline(
    checkpoint: Path,
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
    ema: bool = False,
    codec_precision: Precision | None = None,
) -> ColorizationPipeline:
    """The pipeline of a checkpoint directory with the frozen networks that it names."""
    metadata = read_metadata(checkpoint)
    return ColorizationPipeline.from_checkpoint(
        checkpoint,
        codec_weights=weights_file(metadata.codec, checkpoint),
        image_encoder_weights=weights_file(metadata.image_encoder, checkpoint),
        device=device,
        precision=precision,
        codec_precision=codec_precision,
        ema=ema,
    )
