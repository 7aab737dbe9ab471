"""CLIP's towers against OpenCLIP's whole model, and DINOv2's resampled positions, on networks of one layer."""

import open_clip.model as open_clip
import pytest
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer

from model.feature_networks import clip, dinov2
from model.weights.catalogue import CATALOGUE
from pipelines.weights.intake import used_tensors


@pytest.fixture(scope="module")
def whole() -> open_clip.CLIP:
    return small_clip(quick_gelu=True)


def small_clip(quick_gelu: bool) -> open_clip.CLIP:
    """A model of one layer in each tower."""
    torch.manual_seed(0)
    return open_clip.CLIP(
        embed_dim=768,
        vision_cfg=open_clip.CLIPVisionCfg(layers=1, width=32, head_width=16, patch_size=14, image_size=336),
        text_cfg=open_clip.CLIPTextCfg(layers=1, width=32, heads=2),
        quick_gelu=quick_gelu,
    ).eval()


def pictures(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) for size in sizes]


@torch.inference_mode()
def test_the_image_tower_is_the_whole_models(whole: open_clip.CLIP) -> None:
    tower = clip.clip_vitl14_336(width=32, layers=1, heads=2).eval()
    tower.load_state_dict(used_tensors(CATALOGUE["clip_vitl14_336"], whole.state_dict()))
    (picture,) = pictures((336, 336))
    mean, std = (torch.tensor(values)[:, None, None] for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    expected = whole.encode_image((picture[None] - mean) / std)
    torch.testing.assert_close(clip.image_features(tower, picture[None]), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_pictures_of_any_sizes_are_seen_as_each_is_alone(whole: open_clip.CLIP) -> None:
    tower = clip.clip_vitl14_336(width=32, layers=1, heads=2).eval()
    several = pictures((400, 300), (64, 90))
    together = clip.image_features(tower, several)
    alone = torch.cat([clip.image_features(tower, picture[None]) for picture in several])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_the_text_tower_is_the_whole_models_and_no_text_says_nothing() -> None:
    whole = small_clip(quick_gelu=False)
    tower = TextTransformer(width=32, layers=1, heads=2, output_dim=768).eval()
    tower.load_state_dict(used_tensors(CATALOGUE["ViT-H-14-text"], whole.state_dict()))
    texts = ["a girl with blue hair", "", "red dress, " * 80]
    found = clip.text_features(tower, texts)
    expected = whole.encode_text(SimpleTokenizer()(texts))
    assert found[1].isnan().all()
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]], atol=1e-5, rtol=1e-5)
    assert clip.clip_vith14_text(width=32, layers=1, heads=2)(SimpleTokenizer()(texts)).shape == (3, 1024)


@torch.inference_mode()
def test_dinov2_gives_its_class_token_with_positions_resampled_once() -> None:
    network = dinov2.dinov2_vitl14(width=32, depth=1, heads=2).eval()
    assert network.pos_embed.shape == (1, 1 + 37**2, 32)
    together = dinov2.features(network, pictures((224, 224), (100, 300)))
    assert network.pos_embed.shape == (1, 1 + 16**2, 32)
    torch.testing.assert_close(dinov2.features(network, pictures((224, 224))[0][None]), together[:1])
    assert together.shape == (2, 32)


def test_positions_are_resampled_by_the_authors_factor() -> None:
    """Inside the grid a cubic leaves a slope nearly as it is, so that the place read off is known."""
    places = torch.arange(37.0)
    grid = torch.stack([places[:, None].expand(37, 37), places[None].expand(37, 37)], dim=-1).reshape(1, 37**2, 2)
    class_token = torch.full((1, 1, 2), 7.0)
    found = dinov2.resampled_positions(torch.cat([class_token, grid], dim=1), 16)
    assert torch.equal(found[:, 0], class_token[:, 0])
    expected = (torch.arange(16) + 0.5) * 37 / 16.1 - 0.5
    inside = found[0, 1:].reshape(16, 16, 2)[2:14, 2:14]
    torch.testing.assert_close(inside[:, 0, 0], expected[2:14], atol=0.06, rtol=0)
    torch.testing.assert_close(inside[0, :, 1], expected[2:14], atol=0.06, rtol=0)
    assert (inside[-1, 0, 0] - (13.5 * 37 / 16 - 0.5)).abs() > 0.1, "not the factor of the sizes"


@pytest.mark.parametrize("key", ["mask_token", "visual.proj", "logit_scale"])
def test_what_the_features_do_not_take_is_set_aside(key: str) -> None:
    entry = CATALOGUE["dinov2_vitl14" if key == "mask_token" else "ViT-H-14-text"]
    assert used_tensors(entry, {key: torch.zeros(1), "blocks.0.norm1.weight": torch.zeros(1)}).keys() == {
        "blocks.0.norm1.weight"
    }
