"""The vision tower against transformers' own, the head as an affine map, and what a picture becomes before them."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from model.extractors.labels.aesthetic import (
    CONVENTIONS,
    SO400M,
    AestheticHead,
    AestheticScorer,
    SigLIPConfig,
    SigLIPVision,
)
from tests.model.golden import off, with_rule_weights

SMALL = SigLIPConfig(width=48, layers=2, heads=4, hidden=100, patch=14, side=60)
SIZES = [(1, 1), (1, 37), (5, 3), (64, 300)]


def images(count: int, side: int = SMALL.side) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def scorer(config: SigLIPConfig) -> AestheticScorer:
    vision, head = with_rule_weights(SigLIPVision(config)), with_rule_weights(AestheticHead(config.width))
    return AestheticScorer(vision, head).eval()


def peer(config: SigLIPConfig) -> nn.Module:
    """The same tower of another hand, with its keys as they are published."""
    transformers = pytest.importorskip("transformers")
    settings = transformers.SiglipVisionConfig(
        hidden_size=config.width,
        intermediate_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        image_size=config.side,
        patch_size=config.patch,
    )
    return transformers.SiglipVisionModel(settings).eval()


def bare(key: str) -> str:
    """A key without the prefix that published files have, and transformers 5 drops."""
    return key.removeprefix("vision_model.")


def test_the_tower_of_the_published_size_has_the_published_entries() -> None:
    with torch.device("meta"):
        ours, theirs = SigLIPVision().state_dict(), peer(SO400M).state_dict()
    assert all(key.startswith("vision_model.") for key in ours)
    assert {bare(key): value.shape for key, value in ours.items()} == {
        bare(key): value.shape for key, value in theirs.items()
    }
    assert sum(value.numel() for value in ours.values()) == 428_225_600
    assert ours["vision_model.embeddings.position_embedding.weight"].shape == (729, 1152)


@torch.inference_mode()
def test_the_embedding_is_that_of_transformers_with_the_same_weights() -> None:
    ours, theirs = with_rule_weights(SigLIPVision(SMALL)), peer(SMALL)
    weights = {bare(key): value for key, value in ours.state_dict().items()}
    theirs.load_state_dict({key: weights[bare(key)] for key in theirs.state_dict()})
    assert off(ours(images(3)), theirs(images(3)).pooler_output) < 1e-6


def test_the_head_has_the_published_entries() -> None:
    widths = [1152, 1024, 128, 64, 16, 1]
    expected: dict[str, tuple[int, ...]] = {}
    for place, (before, after) in enumerate(pairwise(widths)):
        expected[f"scoring_head.{2 * place}.weight"] = (after, before)
        expected[f"scoring_head.{2 * place}.bias"] = (after,)
    assert {key: tuple(value.shape) for key, value in AestheticHead().state_dict().items()} == expected


@torch.inference_mode()
def test_the_score_is_one_affine_map_of_the_embedding_at_length_1() -> None:
    model = scorer(SMALL)
    layers = [layer.double() for layer in copy.deepcopy(model.head.scoring_head) if isinstance(layer, nn.Linear)]
    matrix, offset = torch.eye(SMALL.width, dtype=torch.float64), torch.zeros(SMALL.width, dtype=torch.float64)
    for layer in layers:
        matrix, offset = layer.weight @ matrix, layer.weight @ offset + layer.bias
    embedding = model.vision(images(3)).double()
    expected = embedding / embedding.square().sum(1, keepdim=True).sqrt() @ matrix.T + offset
    assert off(model(images(3)), expected[:, 0].float()) < 1e-5


@torch.inference_mode()
def test_a_picture_scores_the_same_alone_and_in_a_batch() -> None:
    model = scorer(SMALL)
    together = model(images(4))
    alone = torch.cat([model(image[None]) for image in images(4)])
    assert off(alone, together) < 1e-5


@torch.inference_mode()
def test_embeddings_and_scores_hold_in_float16() -> None:
    model, half = scorer(SMALL), scorer(SMALL).half()
    assert off(half.vision(images(8).half()), model.vision(images(8))) < 1e-2
    assert off(half(images(8).half()), model(images(8))) < 1e-2
    assert "float16" in AestheticScorer.half_precision


@pytest.mark.slow
@torch.inference_mode()
def test_embeddings_and_scores_hold_in_float16_after_the_27_layers_of_the_published_size() -> None:
    model = scorer(SigLIPConfig(side=56))
    embedding, score = model.vision(images(4, 56)), model(images(4, 56))
    model.half()
    assert off(model.vision(images(4, 56).half()), embedding) < 2e-3
    assert off(model(images(4, 56).half()), score) < 1e-2


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_any_size_become_one_square(size: tuple[int, int]) -> None:
    convention = CONVENTIONS["squash-384"]
    for shape in ((*size, 3), size):
        prepared = convention.prepare(np.full(shape, 51, np.uint8))
        assert (prepared.shape, prepared.dtype) == ((3, 384, 384), np.dtype(np.float32))
        np.testing.assert_allclose(prepared, 51 / 127.5 - 1, atol=1e-6)


def test_a_picture_is_squashed_by_pillows_bicubic_and_centred_channel_by_channel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (500, 800, 3), dtype=np.uint8)
    prepared = CONVENTIONS["squash-384"].prepare(picture)
    squashed = np.asarray(Image.fromarray(picture).resize((384, 384), Image.Resampling.BICUBIC))
    for channel in range(3):
        np.testing.assert_allclose(prepared[channel], (squashed[..., channel] / 255 - 0.5) / 0.5, atol=1e-6)


def test_the_score_is_a_number_that_json_can_say() -> None:
    (convention,) = CONVENTIONS.values()
    score = convention.finish(np.float32(5.5), (10, 20))  # type: ignore[arg-type]  # a batch of numbers gives scalars
    assert (type(score), score) == (float, 5.5)
