"""Sizes: padding by hand, and resizing against torchvision's and torch's."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.transforms.functional import resize

from model.extractors.fitting import gray, pad, planes, rgb, squash, unsquash
from tests.model.extractors.feeding import noise

SMALL = np.array([[1, 2], [3, 4]], np.uint8)


def test_padding_repeats_the_border_at_the_right_and_the_bottom() -> None:
    assert pad(SMALL, 3).tolist() == [[1, 2, 2], [3, 4, 4], [3, 4, 4]]


def test_padding_with_a_value() -> None:
    assert pad(SMALL, 3, fill=9).tolist() == [[1, 2, 9], [3, 4, 9], [9, 9, 9]]
    assert pad(rgb(SMALL), 3, fill=9)[..., 1].tolist() == [[1, 2, 9], [3, 4, 9], [9, 9, 9]]


@pytest.mark.parametrize(
    ("size", "multiple", "least", "padded"),
    [
        ((1, 1), 16, 1, (16, 16)),
        ((1, 37), 8, 1, (8, 40)),
        ((16, 32), 16, 1, (16, 32)),
        ((5, 3), 1, 8, (8, 8)),
        ((5, 12), 4, 8, (8, 12)),
    ],
)
def test_padded_sizes(size: tuple[int, int], multiple: int, least: int, padded: tuple[int, int]) -> None:
    for channels in (1, 3):
        picture = noise(size, channels)
        grown = pad(picture, multiple, least)
        assert grown.shape[:2] == padded
        assert np.array_equal(grown[: size[0], : size[1]], picture)


def test_planes_are_channels_first_and_scaled() -> None:
    picture = noise((3, 4))
    assert planes(picture, 0.5).shape == (3, 3, 4)
    assert planes(picture, 0.5)[2, 1, 3] == picture[1, 3, 2] / 2
    assert planes(SMALL).tolist() == [[[1, 2], [3, 4]]]


def test_luma_is_rec601_and_gray_as_rgb_comes_back() -> None:
    assert gray(np.array([[[200, 100, 50]]], np.uint8)).item() == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert np.array_equal(gray(rgb(SMALL)), SMALL)
    assert gray(SMALL) is SMALL


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (64, 30), (13, 90)])
def test_squashing_is_that_of_torchvision(size: tuple[int, int]) -> None:
    picture = noise(size)
    expected = resize(torch.from_numpy(picture).permute(2, 0, 1), [24, 40], 3, antialias=True)
    difference = squash(picture, 24, 40).transpose(2, 0, 1).astype(int) - expected.numpy()
    assert np.abs(difference).max() <= 1  # rounding


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (64, 30)])
def test_unsquashing_is_that_of_torch(size: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).random((24, 40), np.float32)
    expected = functional.interpolate(torch.from_numpy(plane)[None, None], size, mode="bicubic", antialias=True)
    np.testing.assert_allclose(unsquash(plane, size), expected[0, 0].numpy(), atol=1e-5)


def test_what_has_the_size_already_is_not_copied() -> None:
    plane = np.zeros((2, 2), np.float32)
    assert squash(SMALL, 2, 2) is SMALL
    assert unsquash(plane, (2, 2)) is plane
    assert pad(SMALL, 2) is SMALL
