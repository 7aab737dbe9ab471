"""Finds the weights of frozen networks that do not ship: beside the checkpoint, else in the weight store.

`sd-vae` is Stable Diffusion's autoencoder, `ViT-H-14` OpenCLIP's image tower (laion2b_s32b_b79k). A released file
bundles its autoencoder, which then travels with the converted checkpoint. The tiny size needs none of them.
"""

from pathlib import Path

import torch

from model.catalogue import CATALOGUE
from model.checkpoint import read_metadata
from model.memory import Precision
from model.pipeline import ColorizationPipeline
from pipelines.errors import PipelineError
from pipelines.weights import stored_file, weights_name

SHIPPED = {"tiny"}


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


def open_pipeline(
    checkpoint: Path, device: torch.device | str = "cpu", precision: Precision = "fp32", ema: bool = False
) -> ColorizationPipeline:
    """The pipeline of a checkpoint directory with the frozen networks that it names."""
    metadata = read_metadata(checkpoint)
    return ColorizationPipeline.from_checkpoint(
        checkpoint,
        codec_weights=weights_file(metadata.codec, checkpoint),
        image_encoder_weights=weights_file(metadata.image_encoder, checkpoint),
        device=device,
        precision=precision,
        ema=ema,
    )
