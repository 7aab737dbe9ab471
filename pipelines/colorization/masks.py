"""Where the figure of a sketch or a reference is: by a file, its transparency, its line art, or a network of the store.

A mask is uint8 (H, W) of its picture's size, 255 = figure.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from dataprep.errors import DataError
from dataprep.lines.layers import line_art_mask
from dataprep.pictures.guarded import decode, decode_rgba, measure
from dataprep.pictures.resize import resize_mask
from dataprep.samples.values import model_mask
from pipelines.colorization.picture_settings import PictureSettings
from pipelines.colorization.roles import BACKGROUND, REFERENCE_MASK, SKETCH_MASK

if TYPE_CHECKING:
    from pipelines.extraction.mask_extractor import MaskExtractor

ANOTHER_SHAPE = 0.02  # by which the sides' ratio of a mask and its picture may differ


class MaskFinder:
    """Finds masks as the settings say, where no file gives one."""

    def __init__(self, settings: PictureSettings, device: torch.device) -> None:
        """Raises PipelineError where the store lacks a network that is asked for."""
        self.settings = settings
        self._for_sketches = _extractor(settings.sketch_mask_by, device)
        self._for_references = _extractor(settings.reference_mask_by, device)

    def of_sketch(self, data: Callable[[], bytes], gray: np.ndarray, file: bytes | None) -> np.ndarray:
        """The mask of an encoded sketch whose line art is gray (H, W); file: an encoded mask. Raises DataError."""
        if file is not None:
            return _of_file(file, gray.shape)
        if self.settings.sketch_mask_by == "lines":
            return line_art_mask(gray)
        if self._for_sketches is not None:
            return self._for_sketches(np.repeat(gray[..., None], 3, axis=2))
        return _by_alpha(data(), SKETCH_MASK) if self.settings.sketch_mask_by == "alpha" else np.zeros_like(gray)

    def of_reference(self, data: bytes, file: bytes | None, role: str) -> np.ndarray:
        """The mask of an encoded reference, or background; file: an encoded mask. Raises DataError."""
        if file is None and self._for_references is not None:
            return self._for_references(decode(data).rgb)
        if file is None and self.settings.reference_mask_by == "alpha":
            return _by_alpha(data, role)
        width, height = measure(data)
        return np.zeros((height, width), np.uint8) if file is None else _of_file(file, (height, width))


def hash_of(mask: np.ndarray) -> str:
    """sha256 of a mask's size and pixels."""
    return sha256(repr(mask.shape).encode() + np.ascontiguousarray(mask).tobytes()).hexdigest()


def unit_mask(mask: np.ndarray, size: tuple[int, int] | None = None) -> torch.Tensor:
    """(1, h, w) in [0, 1], of that (width, height)."""
    fitted = mask if size is None else resize_mask(mask, *size)
    return torch.from_numpy(model_mask(fitted))


def _extractor(by: str, device: torch.device) -> "MaskExtractor | None":
    from pipelines.extraction.mask_extractor import MASK_NETWORKS, MaskExtractor

    return MaskExtractor(by, device) if by in MASK_NETWORKS else None


_OTHER_WAYS = {
    SKETCH_MASK: "give --sketch-mask FILE, or --sketch-mask-by lines or a network",
    REFERENCE_MASK: "give --reference-mask FILE, --reference-mask-by isnetis (a network of the weight store), or "
    "--reference-mask-by empty where it has no figure",
    BACKGROUND: "give --reference-mask-by isnetis, which finds it here too, or leave out --remove-foreground",
}


def _by_alpha(data: bytes, role: str) -> np.ndarray:
    alpha = decode_rgba(data)[..., 3]
    if (alpha == 255).all():
        raise DataError(f"nothing of it is transparent, so where its figure is is not known: {_OTHER_WAYS[role]}")
    return np.ascontiguousarray(alpha)


def _of_file(file: bytes, size: tuple[int, ...]) -> np.ndarray:
    """The luma of a mask's file where it is opaque: what is transparent is no figure."""
    rgba = decode_rgba(file)
    luma = np.asarray(cv2.cvtColor(np.ascontiguousarray(rgba[..., :3]), cv2.COLOR_RGB2GRAY), np.uint16)
    mask = ((luma * rgba[..., 3] + 127) // 255).astype(np.uint8)
    (height, width), (own_height, own_width) = size, mask.shape
    if abs(own_width * height / (own_height * width) - 1) > ANOTHER_SHAPE:
        raise DataError(
            f"a mask of {own_width}x{own_height} pixels is of another shape than its picture's {width}x{height}"
        )
    return mask if mask.shape == (height, width) else resize_mask(mask, width, height)
