"""Pictures through a convention, with its network or without."""

import numpy as np
import torch
from torch import nn

from model.extractors.convention import Convention, Picture

SIZES = [(1, 1), (1, 37), (5, 3), (64, 300)]


def noise(size: tuple[int, int], channels: int = 3) -> Picture:
    """A picture (H, W, 3), or line art (H, W) for one channel; each size has its own."""
    shape = size if channels == 1 else (*size, channels)
    return np.random.default_rng(size).integers(0, 256, shape, np.uint8)


def sketches(network: nn.Module, convention: Convention, *pictures: Picture) -> list[np.ndarray]:
    """The values of pictures of one size, run as one batch."""
    planes = np.stack([convention.prepare(picture) for picture in pictures])
    with torch.inference_mode():
        output = convention.infer(network, torch.from_numpy(planes)).numpy()
    return [convention.finish(one, picture.shape[:2]) for one, picture in zip(output, pictures, strict=True)]


def fed(convention: Convention, picture: Picture, lines: float) -> np.ndarray:
    """The value of `picture` if the network gave `lines` at every pixel; the input is looked at too."""
    planes = convention.prepare(picture)
    assert planes.dtype == np.float32
    assert planes.flags.c_contiguous
    assert planes.shape == convention.prepare(np.zeros_like(picture)).shape
    return convention.finish(np.full((1, *planes.shape[1:]), lines, np.float32), picture.shape[:2])


def assert_is_sketch(value: np.ndarray, size: tuple[int, int]) -> None:
    assert value.shape == size
    assert value.dtype == np.float32
    assert np.isfinite(value).all()
    assert value.min() >= 0
    assert value.max() <= 1
