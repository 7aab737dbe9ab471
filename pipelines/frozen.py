"""Finds the weights of frozen networks that do not ship: `$IRODORI_WEIGHTS/<id>.safetensors` on every machine.

`sd-vae` is Stable Diffusion's autoencoder (diffusers or LDM layout), `ViT-H-14` OpenCLIP's laion2b_s32b_b79k file. The
tiny size needs none of them.
"""

import os
from pathlib import Path

import torch

from model.checkpoint import read_metadata
from model.pipeline import ColorizationPipeline
from pipelines.errors import PipelineError
from pipelines.weights import WEIGHTS

SHIPPED = {"tiny"}


def weights_file(network: str) -> Path | None:
    """The file of the frozen network with this id, or None where it ships. Raises PipelineError where it is absent."""
    if network in SHIPPED:
        return None
    folder = os.environ.get(WEIGHTS)
    path = Path(folder or f"${WEIGHTS}") / f"{network}.safetensors"
    if folder is None or not path.is_file():
        raise PipelineError(
            f"the weights of {network} do not ship: put them at {path} and set {WEIGHTS} to that folder"
        )
    return path


def open_pipeline(checkpoint: Path, device: torch.device | str = "cpu") -> ColorizationPipeline:
    """The pipeline of a checkpoint directory with the frozen networks that it names."""
    metadata = read_metadata(checkpoint)
    return ColorizationPipeline.from_checkpoint(
        checkpoint,
        codec_weights=weights_file(metadata.codec),
        image_encoder_weights=weights_file(metadata.image_encoder),
        device=device,
    )
