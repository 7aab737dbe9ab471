"""What each convention feeds ISNet and makes of its mask, worked out by hand and against torch and Pillow."""

import json
import tracemalloc
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from dataprep.faults import Fault
from dataprep.operators.outputs import finished
from model.extractors.masks.mask_conventions import CONVENTIONS, Published, Stretched

SIZES = [(1, 1), (1, 37), (5, 3), (64, 300), (2000, 1)]


def small(name: str, side: int = 32) -> Any:
    return replace(CONVENTIONS[name], side=side)  # type: ignore[type-var]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


class FirstChannel(nn.Module):
    """A network whose mask is the first channel of its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1]


def torch_resized(picture: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    """float32 (3, h, w) of uint8 (H, W, 3) in 0 to 255, without antialiasing."""
    whole = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    return F.interpolate(whole, size, mode=mode, align_corners=False)[0].numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CONVENTIONS)
def test_pictures_of_any_size_fill_the_square_and_get_a_mask_of_their_size(name: str, size: tuple[int, int]) -> None:
    convention = small(name)
    colour, line_art = convention.prepare(noise(*size, 3)), convention.prepare(noise(*size))
    for planes in (colour, line_art):
        assert planes.shape == (3, 32, 32)
        assert planes.dtype == np.float32
        assert planes.flags["C_CONTIGUOUS"]
        assert np.isfinite(planes).all()
    mask = convention.finish(np.random.default_rng(1).random((32, 32), np.float32), size)
    assert mask.shape == size
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", CONVENTIONS)
def test_one_value_that_is_no_number_makes_a_mask_that_is_refused(name: str, value: float) -> None:
    for at in ((0, 0), (15, 16), (31, 31)):  # the corners are beside the picture where its shape is kept
        output = np.random.default_rng(1).random((32, 32), np.float32)
        output[at] = value
        for size in ((3, 5), (32, 32), (64, 300)):
            mask = small(name).finish(output, size)
            assert (mask.shape, mask.dtype) == (size, np.float32)
            with pytest.raises(Fault) as refused:
                finished(mask, "mask", size)
            assert refused.value.reason == "not-finite"


@pytest.mark.parametrize("name", CONVENTIONS)
def test_line_art_is_fed_as_three_equal_channels(name: str) -> None:
    convention, line_art = small(name), noise(20, 50)
    in_colour = np.repeat(line_art[..., None], 3, axis=2)
    np.testing.assert_array_equal(convention.prepare(line_art), convention.prepare(in_colour))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_settings_are_what_json_can_say_and_bear_the_name(name: str) -> None:
    settings = asdict(CONVENTIONS[name])  # type: ignore[call-overload]
    assert json.loads(json.dumps(settings))["name"] == name
    assert settings["side"] == 1024


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_batch_gives_one_plane_for_each_picture(name: str) -> None:
    planes = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(CONVENTIONS[name].infer(FirstChannel(), planes), planes[:, 0], rtol=0, atol=0)


def test_skytnt_lays_the_picture_in_the_middle_of_black_with_its_shape_kept() -> None:
    wide = np.zeros((2, 4, 3), np.uint8)
    wide[..., 0], wide[..., 2] = 255, [51, 51, 102, 102]
    planes = small("skytnt", 4).prepare(wide)
    np.testing.assert_allclose(planes[0], [[0] * 4, [1] * 4, [1] * 4, [0] * 4], atol=1e-6)
    np.testing.assert_allclose(planes[2], [[0.0] * 4, [0.2, 0.2, 0.4, 0.4], [0.2, 0.2, 0.4, 0.4], [0.0] * 4], atol=1e-6)


def test_skytnt_cuts_sides_as_the_published_script_and_leaves_the_odd_pixel_below() -> None:
    planes = small("skytnt", 10).prepare(np.full((3, 4), 255, np.uint8))  # 10 * 3 / 4 = 7.5: 7 rows, 3 of them black
    np.testing.assert_array_equal(np.flatnonzero(planes[0].any(1)), np.arange(1, 8))


def test_skytnt_resizes_without_antialiasing() -> None:
    picture = noise(90, 60, 3)
    expected = torch_resized(picture, (30, 20), "bilinear") / 255
    planes = small("skytnt", 30).prepare(picture)
    np.testing.assert_allclose(planes[:, :, 5:25], expected, atol=1e-5)
    assert not planes[:, :, :5].any()
    assert not planes[:, :, 25:].any()


@pytest.mark.parametrize("size", [(40, 23), (23, 40), (7, 7), (1, 300)])
def test_skytnt_brings_the_mask_back_to_where_the_picture_was(size: tuple[int, int]) -> None:
    convention = small("skytnt")
    output = convention.infer(FirstChannel(), torch.from_numpy(convention.prepare(np.full(size, 255, np.uint8)))[None])
    np.testing.assert_allclose(convention.finish(output[0].numpy(), size), np.ones(size), atol=1e-6)


def test_rembg_divides_by_the_pictures_own_maximum() -> None:
    flat = np.full((9, 5, 3), (50, 100, 100), np.uint8)
    for name, mean in (("rembg", (0.485, 0.456, 0.406)), ("rembg-general", (0.5, 0.5, 0.5))):
        values = np.array((0.5, 1, 1)) - mean
        np.testing.assert_allclose(small(name).prepare(flat), np.tile(values[:, None, None], (1, 32, 32)), atol=1e-6)
    black = small("rembg").prepare(np.zeros((4, 4, 3), np.uint8))
    np.testing.assert_allclose(black[0], -0.485, atol=1e-6)


def test_rembg_resizes_by_lanczos_before_and_after() -> None:
    picture = noise(50, 70, 3)
    squashed = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.LANCZOS), np.float32)
    expected = squashed.transpose(2, 0, 1) / squashed.max() - 0.5
    np.testing.assert_allclose(small("rembg-general").prepare(picture), expected, atol=1e-6)

    steps = np.array([[0.2, 0.35], [0.5, 0.6]], np.float32)  # stretched 0, 0.375, 0.75, 1; cut to 0, 95, 191, 255
    np.testing.assert_allclose(Stretched("x", 2).finish(steps, (2, 2)) * 255, [[0, 95], [191, 255]], atol=1e-4)


def test_dis_cuts_the_squashed_picture_to_integers() -> None:
    picture = noise(50, 70, 3)
    expected = np.floor(torch_resized(picture, (32, 32), "bilinear")) / 255 - 0.5
    np.testing.assert_allclose(small("dis").prepare(picture), expected, atol=1e-6)


def test_dis_stretches_the_mask_at_the_pictures_size() -> None:
    column = np.array([[0], [0.4], [0.6], [1]], np.float32)  # at 2 rows: 0.2, 0.8
    np.testing.assert_allclose(Published("x", 4).finish(column, (2, 1))[:, 0], [0, 1], atol=1e-6)


@pytest.mark.parametrize("name", ["rembg", "rembg-general", "dis"])
def test_a_flat_mask_is_no_foreground_where_masks_are_stretched(name: str) -> None:
    assert not small(name).finish(np.full((32, 32), 0.7, np.float32), (3, 5)).any()


def test_imgly_resizes_from_the_corner_and_rounds_half_up() -> None:
    row = np.array([[0, 101]], np.uint8)  # at 0, 0.5, 1 and 1.5, the last beyond the last pixel: 0, 50.5, 101, 101
    planes = small("imgly", 4).prepare(row)
    np.testing.assert_allclose(planes[0][0], (np.array([0, 51, 101, 101]) - 128) / 256, atol=1e-7)
    column = np.array([[0.199], [0.8]], np.float32)
    # cut to 50 and 204; at 0, 2 / 3 and 4 / 3 of the input's rows: 50, 153, 204
    np.testing.assert_allclose(small("imgly", 2).finish(column, (3, 1))[:, 0] * 255, [50, 153, 204], atol=1e-4)


@pytest.mark.parametrize("size", [(2, 20_000), (20_000, 2)])
def test_imgly_shrinks_a_strip_before_it_is_widened_so_that_it_never_takes_much_memory(size: tuple[int, int]) -> None:
    strip = noise(*size, 3)  # 120 kB; widened first: 32 x 20000 floats of three colours, 7.7 MB
    tracemalloc.start()
    small("imgly").prepare(strip)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6


def test_sketches_are_signed_with_paper_at_one_and_resized_bicubic() -> None:
    white, picture = np.full((7, 9), 255, np.uint8), noise(50, 70, 3)
    convention = small("colorizediffusion-sketch")
    np.testing.assert_allclose(convention.prepare(white), 1, atol=1e-6)
    expected = torch_resized(picture, (32, 32), "bicubic") / 127.5 - 1
    np.testing.assert_allclose(convention.prepare(picture), expected, atol=1e-4)

    mask = np.zeros((32, 32), np.float32)
    mask[:, 16:] = 1  # bicubic overshoots on both sides of the step
    enlarged = F.interpolate(torch.from_numpy(mask)[None, None], (50, 70), mode="bicubic", align_corners=False)[0, 0]
    assert enlarged.max() > 1
    assert enlarged.min() < 0
    np.testing.assert_allclose(convention.finish(mask, (50, 70)), enlarged.clamp(0, 1).numpy(), atol=1e-5)
