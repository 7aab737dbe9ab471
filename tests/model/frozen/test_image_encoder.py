"""The reference encoder's tokens: which, how many, and that each goes through the norm and the projection."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from model.errors import ModelError
from model.frozen import image_encoder as image_encoder_module
from model.frozen.config import IMAGE_ENCODERS
from model.frozen.image_encoder import (
    ReferenceEncoder,
    Squash,
    build_image_encoder,
    load_image_encoder,
    released_squash,
    squash,
    widen,
)

SQUASHES = pytest.mark.parametrize("way", [squash, released_squash])


@torch.no_grad()
def test_tokens_are_the_last_layer_normed_and_projected(image_encoder: ReferenceEncoder) -> None:
    images, vit = torch.rand(2, 3, 64, 64) * 2 - 1, image_encoder.vit
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    patches = vit.conv1(((images + 1) / 2 - mean) / std).flatten(2).transpose(1, 2)
    x = torch.cat([vit.class_embedding.expand(2, 1, -1), patches], dim=1) + vit.positional_embedding
    x = F.layer_norm(x, (128,), vit.ln_pre.weight, vit.ln_pre.bias)
    for block in vit.transformer.resblocks:
        x = block(x)
    expected = F.layer_norm(x, (128,), vit.ln_post.weight, vit.ln_post.bias) @ vit.proj

    torch.testing.assert_close(image_encoder.encode(images, "full"), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(image_encoder.encode(images, "local"), expected[:, 1:], rtol=0, atol=1e-4)
    torch.testing.assert_close(image_encoder.encode(images, "cls"), expected[:, :1], rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("size", [(200, 96), (32, 32), (64, 64)])
def test_pictures_of_any_size_give_the_same_number_of_tokens(
    image_encoder: ReferenceEncoder, size: tuple[int, int]
) -> None:
    assert image_encoder(torch.zeros(1, 3, *size)).shape == (1, 64, 128)


@torch.no_grad()
def test_pictures_of_many_sizes_go_together(image_encoder: ReferenceEncoder) -> None:
    images = [torch.rand(3, 40, 90) * 2 - 1, torch.rand(3, 64, 64) * 2 - 1]
    for kind in ("local", "cls"):
        alone = torch.cat([image_encoder.encode(image[None], kind) for image in images])
        torch.testing.assert_close(image_encoder.encode(images, kind), alone, rtol=0, atol=1e-4)


@torch.no_grad()
def test_in_half_precision_the_tokens_are_those_but_for_rounding(image_encoder: ReferenceEncoder) -> None:
    images, half = torch.rand(1, 3, 40, 90) * 2 - 1, copy.deepcopy(image_encoder).to(torch.bfloat16)
    tokens = half.encode(images)
    assert tokens.dtype == torch.bfloat16
    expected = image_encoder.encode(images)
    assert (tokens - expected).square().mean() < (0.03 * expected.std()) ** 2


def test_widening_adds_white_on_both_sides() -> None:
    image = torch.zeros(1, 3, 5, 9)
    widened = widen(image, 1.5)  # int(9 * 1.5) = 13: two columns on either side
    assert widened.shape == (1, 3, 5, 13)
    assert torch.equal(widened[..., 2:11], image)
    assert widened[..., :2].eq(1).all()
    assert widened[..., 11:].eq(1).all()
    assert torch.equal(widen(image, 1.0), image)


@pytest.mark.parametrize(
    "size", [(200, 333), (128, 192), (20, 33), (64, 20), (150, 33), (33, 150), (64, 150), (65, 63), (1, 1)]
)
def test_squashing_is_area_averaging_where_a_side_shrinks_and_bicubic_where_one_grows(size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(sum(size))) * 2 - 1
    rows = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
    shrunk = cv2.resize(rows, (min(64, size[1]), min(64, size[0])), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(shrunk, (64, 64), interpolation=cv2.INTER_CUBIC).clip(-1, 1)
    found = squash(image, 64)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    image = torch.rand(1, 3, 64, 64)
    assert squash(image, 64) is image


@torch.no_grad()
def test_the_encoder_sees_what_its_squash_leaves(image_encoder: ReferenceEncoder) -> None:
    images, other = torch.rand(1, 3, 90, 150) * 2 - 1, copy.deepcopy(image_encoder)
    other.squash = released_squash
    assert torch.equal(image_encoder.encode(images), image_encoder.encode(squash(images, 64)))
    torch.testing.assert_close(other.encode(images), image_encoder.encode(released_squash(images, 64)))
    assert not torch.allclose(other.encode(images), image_encoder.encode(images), atol=1e-2)


@SQUASHES
def test_squashing_keeps_flat_colours_and_the_left_and_right_of_a_wide_picture(way: Squash) -> None:
    flat = way(torch.full((1, 3, 50, 300), 0.3), 64)
    torch.testing.assert_close(flat, torch.full((1, 3, 64, 64), 0.3), rtol=0, atol=1e-5)
    halves = torch.cat([torch.full((1, 3, 64, 128), -1.0), torch.full((1, 3, 64, 128), 1.0)], dim=3)
    squashed = way(halves, 64)
    torch.testing.assert_close(squashed[..., :28], torch.full((1, 3, 64, 28), -1.0), rtol=0, atol=1e-4)
    torch.testing.assert_close(squashed[..., 36:], torch.full((1, 3, 64, 28), 1.0), rtol=0, atol=1e-4)


@SQUASHES
def test_squashing_averages_fine_stripes_instead_of_sampling_them(way: Squash) -> None:
    stripes = torch.tensor([-1.0, 1.0]).repeat(128).expand(1, 3, 256, 256)
    assert way(stripes, 64).std() < 0.1


def test_the_published_size_has_256_local_tokens_and_the_published_shapes() -> None:
    assert IMAGE_ENCODERS["ViT-H-14"].local_tokens == 256
    with torch.device("meta"):
        vit = build_image_encoder("ViT-H-14").vit
    assert vit.proj.shape == (1280, 1024)
    assert vit.positional_embedding.shape == (257, 1280)
    assert vit.transformer.resblocks[31].mlp.c_fc.weight.shape == (5120, 1280)


def test_an_openclip_file_loads_without_its_text_tower(tmp_path: Path, image_encoder: ReferenceEncoder) -> None:
    visual = {f"visual.{name}": tensor for name, tensor in image_encoder.vit.state_dict().items()}
    save_file({**visual, "text_projection": torch.zeros(2, 2)}, tmp_path / "clip.safetensors")
    loaded = load_image_encoder("tiny", tmp_path / "clip.safetensors")
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images), image_encoder(images))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())

    del visual["visual.ln_post.bias"]
    save_file(visual, tmp_path / "clip.safetensors")
    with pytest.raises(ModelError, match=r"missing: ln_post.bias"):
        load_image_encoder("tiny", tmp_path / "clip.safetensors")


def test_missing_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_encoder_module, "ASSETS", tmp_path)
    with pytest.raises(ModelError, match=r"tiny_image_encoder.safetensors"):
        load_image_encoder("tiny")
    with pytest.raises(ModelError, match="'ViT-H-14' needs its weights"):
        load_image_encoder("ViT-H-14")
    with pytest.raises(ModelError, match="known: tiny, small, ViT-H-14"):
        load_image_encoder("resnet")
