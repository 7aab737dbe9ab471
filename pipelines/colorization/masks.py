"""Where the figure of a sketch or a reference is: by a file, its transparency, its line art, or a network of the store.

A mask is uint8 (H, W) of its picture's size, 255 = figure.
"""

from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import torch

from dataprep.errors import DataError
from dataprep.lines.layers import line_art_mask
from dataprep.pictures.guarded import decode, decode_rgba
from dataprep.pictures.resize import resize_mask
from pipelines.colorization.picture_settings import PictureSettings

if TYPE_CHECKING:
    from pipelines.extraction.mask_extractor import MaskExtractor

ANOTHER_SHAPE = 0.02  # by which the sides' ratio of a mask and its picture may differ
MASKS = {"sketch": "sketch_mask", "reference": "reference_mask"}


class MaskFinder:
    """Finds masks as the settings say, where no file gives one."""

    def __init__(self, settings: PictureSettings, device: torch.device) -> None:
        """Raises PipelineError where the store lacks a network that is asked for."""
        self.settings, self._device = settings, device
        for extractor in (self._for_sketches, self._for_references):
            del extractor  # looked up, so that what is missing is said at once

    @cached_property
    def _for_sketches(self) -> "MaskExtractor | None":
        return _extractor(self.settings.sketch_mask_by, self._device)

    @cached_property
    def _for_references(self) -> "MaskExtractor | None":
        return _extractor(self.settings.reference_mask_by, self._device)

    def of_sketch(self, data: bytes, gray: np.ndarray, file: bytes | None) -> np.ndarray:
        """The mask of an encoded sketch whose line art is gray (H, W); file: an encoded mask. Raises DataError."""
        if file is not None:
            return _of_file(file, gray.shape)
        if self.settings.sketch_mask_by == "lines":
            return line_art_mask(gray)
        if self._for_sketches is not None:
            return self._for_sketches(np.repeat(gray[..., None], 3, axis=2))
        return _by_alpha(data, "sketch") if self.settings.sketch_mask_by == "alpha" else np.zeros_like(gray)

    def of_reference(self, data: bytes, file: bytes | None) -> np.ndarray:
        """The mask of an encoded reference; file: an encoded mask. Raises DataError."""
        rgb = decode(data).rgb
        if file is not None:
            return _of_file(file, rgb.shape[:2])
        if self._for_references is not None:
            return self._for_references(rgb)
        by = self.settings.reference_mask_by
        return _by_alpha(data, "reference") if by == "alpha" else np.zeros(rgb.shape[:2], np.uint8)


def hash_of(mask: np.ndarray) -> str:
    """sha256 of a mask's size and pixels."""
    return sha256(repr(mask.shape).encode() + np.ascontiguousarray(mask).tobytes()).hexdigest()


def unit_mask(mask: np.ndarray, size: tuple[int, int] | None = None) -> torch.Tensor:
    """(1, h, w) in [0, 1], of that (width, height)."""
    fitted = mask if size is None else resize_mask(mask, *size)
    return torch.from_numpy(np.ascontiguousarray(fitted))[None].float() / 255


def _extractor(by: str, device: torch.device) -> "MaskExtractor | None":
    from pipelines.extraction.mask_extractor import MASK_NETWORKS, MaskExtractor

    return MaskExtractor(by, device) if by in MASK_NETWORKS else None


def _by_alpha(data: bytes, of: str) -> np.ndarray:
    alpha = decode_rgba(data)[..., 3]
    if (alpha == 255).all():
        raise DataError(
            f"nothing of this {of} is transparent, so its figure is not known: give --{of}-mask FILE, "
            f"--{of}-mask-by isnetis (a network of the weight store), or --{of}-mask-by empty where it has no figure"
        )
    return np.ascontiguousarray(alpha)


def _of_file(file: bytes, size: tuple[int, ...]) -> np.ndarray:
    mask = np.ascontiguousarray(decode(file).rgb[..., 1])
    (height, width), (own_height, own_width) = size, mask.shape
    if abs(own_width * height / (own_height * width) - 1) > ANOTHER_SHAPE:
        raise DataError(
            f"a mask of {own_width}x{own_height} pixels is of another shape than its picture's {width}x{height}"
        )
    return mask if mask.shape == (height, width) else resize_mask(mask, width, height)
