"""Colours the sketches in files after the references in files.

A user's sketch keeps its aspect ratio: it is fitted into the resolution, padded with paper to the network's multiple,
and the result is cropped back. The same function scores a validation sketch, so a picture of an evaluation is made
again by the command that its report prints.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from dataprep.errors import DataError
from dataprep.pictures import decode, encode_png
from dataprep.sample import SampleSettings, fit_picture, from_model_image, model_reference, model_sketch
from dataprep.storage import read_bytes, write_whole
from model.pipeline import ColorizationPipeline
from model.settings import SamplingSettings
from pipelines.checkpoints import fetch_checkpoint
from pipelines.colorize_jobs import ColorizeJob
from pipelines.frozen import open_pipeline
from pipelines.progress import Progress, ProgressSink, silent


def colorize(
    jobs: Sequence[ColorizeJob],
    checkpoint: str,
    resolution: tuple[int, int] | None,
    settings: SamplingSettings,
    progress: ProgressSink = silent,
) -> Iterator[str]:
    """Make the pictures of `jobs` one by one, and yield where each went. The resolution defaults to the training's."""
    pipeline = open_pipeline(fetch_checkpoint(checkpoint))
    width, height = resolution or (pipeline.metadata.width, pipeline.metadata.height)
    for done, job in enumerate(jobs):
        progress(Progress("colorize", done, len(jobs), "pictures", note=Path(job.out).name))
        result = colorize_picture(
            pipeline, read_sketch(job.sketch), _read_rgb(job.reference), (width, height), job.seed, settings
        )
        write_whole(job.out, encode_png(result))
        yield job.out
    progress(Progress("colorize", len(jobs), len(jobs), "pictures"))


def colorize_picture(
    pipeline: ColorizationPipeline,
    sketch: np.ndarray,
    reference: np.ndarray,
    resolution: tuple[int, int],
    seed: int,
    settings: SamplingSettings,
) -> np.ndarray:
    """The picture uint8 (h, w, 3) of a sketch uint8 (H, W), black on white, after a reference uint8 (H', W', 3)."""
    fitted = fit_picture(sketch, *resolution)
    square = pipeline.image_encoder.config.image_size
    tokens_of = model_reference(reference, SampleSettings(reference_size=square))
    result = pipeline(
        torch.from_numpy(model_sketch(fitted.picture))[None],
        torch.from_numpy(tokens_of)[None],
        [seed],
        settings=settings,
    )
    return fitted.undo(from_model_image(result[0].cpu().numpy()))


def read_sketch(uri: str) -> np.ndarray:
    """Line art as uint8 (H, W), black on white; transparent paper counts as white."""
    return cv2.cvtColor(_read_rgb(uri), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _read_rgb(uri: str) -> np.ndarray:
    try:
        return decode(read_bytes(uri)).rgb
    except DataError as error:
        message = str(error)
        raise DataError(message if uri in message else f"{uri}: {message}") from error
