"""The WD taggers: built as timm itself builds them from the published config, fed as their public code feeds them."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform

from model.errors import ModelError
from model.extractors.labels.wd_tagger import CONVENTIONS, Labels, Tagger, Tagging, from_config, read_labels
from model.weights.catalogue import CATALOGUE, WD_COMPANIONS
from tests.model.extractors.labels.wd_files import FED, PUBLISHED, RATINGS, SMALL, companions, csv_rows, small_config
from tests.model.golden import with_rule_weights


@pytest.fixture(scope="module", params=SMALL)
def small(request: pytest.FixtureRequest) -> tuple[Tagger, dict[str, Any]]:
    """A tagger with weights by rule, and its config."""
    config = small_config(request.param)
    network = with_rule_weights(from_config(companions(config)))
    assert isinstance(network, Tagger)
    return network, config


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_public_code_feeds(rgb: np.ndarray) -> torch.Tensor:
    """neggles/wdv3-timm in words: middle of a white square, timm's own transform, channels the other way round."""
    side = max(rgb.shape[:2])
    square = Image.new("RGB", (side, side), (255, 255, 255))
    square.paste(Image.fromarray(rgb), ((side - rgb.shape[1]) // 2, (side - rgb.shape[0]) // 2))
    tensor: torch.Tensor = create_transform(**resolve_data_config(FED))(square)
    return tensor.flip(0)


def test_the_network_is_the_one_that_timm_itself_builds_from_the_config(
    small: tuple[Tagger, dict[str, Any]], tmp_path: Path
) -> None:
    network, config = small
    (tmp_path / "config.json").write_text(json.dumps(config | {"pretrained_cfg": FED}))
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=False).eval()
    theirs.load_state_dict(network.state_dict(), strict=True)
    x = torch.rand(1, 3, 448, 448, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(network(x), theirs(x))


@pytest.mark.parametrize(
    ("name", "key", "shape", "blocks"),
    [
        ("wd_swinv2_v2", "head.fc.weight", (9083, 1024), 24),
        ("wd_swinv2_v3", "head.fc.weight", (10861, 1024), 24),
        ("wd_vit_v3", "head.weight", (10861, 768), 12),
        ("wd_convnext_v3", "head.fc.weight", (10861, 1024), 36),
        ("wd_vit_large_v3", "head.weight", (10861, 1024), 24),
        ("wd_eva02_large_v3", "head.weight", (10861, 1024), 24),
    ],
)
def test_every_tagger_has_its_published_head_and_depth(
    name: str, key: str, shape: tuple[int, ...], blocks: int
) -> None:
    with torch.device("meta"):
        network = from_config(companions(PUBLISHED[name], csv_rows(shape[0] - 4 - 2751, 2751)))
    state = network.state_dict()
    assert state.keys() == network.classifier.state_dict().keys()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert state[key].shape == shape
    assert len({found.group() for entry in state if (found := re.match(r".*blocks\.\d+\.", entry))}) == blocks
    assert CATALOGUE[name].companions == WD_COMPANIONS


def test_the_vit_has_as_many_bytes_as_its_published_onnx_but_for_the_graph() -> None:
    with torch.device("meta"):
        network = from_config(companions(PUBLISHED["wd_vit_v3"], csv_rows(10861 - 5, 1)))
    held = 4 * sum(tensor.numel() for tensor in network.state_dict().values())
    assert 0 < 378_536_310 - held < 200_000


def test_a_picture_gives_the_same_alone_and_in_a_batch(small: tuple[Tagger, dict[str, Any]]) -> None:
    network, _ = small
    convention = CONVENTIONS["wdv3-timm"]
    x = torch.from_numpy(np.stack([convention.prepare(picture(40, 60, seed)) for seed in range(2)]))
    with torch.inference_mode():
        together = convention.infer(network, x)
        alone = torch.cat([convention.infer(network, one[None]) for one in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert together.shape == (2, 10)
    assert float(together.std()) > 0.01  # the outputs differ: equality says something


def test_half_precision_holds_to_a_hundredth(small: tuple[Tagger, dict[str, Any]]) -> None:
    """The published sizes hold to 1.5e-3, and in bfloat16, but for EVA02's 1.3e-2, to 9e-3."""
    network, config = small
    assert network.half_precision == ("float16",)
    x = torch.from_numpy(CONVENTIONS["wdv3-timm"].prepare(picture(40, 60)))[None]
    halved = from_config(companions(config))
    halved.load_state_dict(network.state_dict())
    with torch.inference_mode():
        expected = CONVENTIONS["wdv3-timm"].infer(network, x)
        found = CONVENTIONS["wdv3-timm"].infer(halved.eval().to(torch.float16), x.to(torch.float16))
    assert found.dtype == torch.float32
    assert float((found - expected).abs().max()) <= 5e-3 * float(expected.abs().max())


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (5, 3), (64, 300), (448, 448), (501, 333)])
def test_pad_feeds_what_timm_feeds(size: tuple[int, int]) -> None:
    rgb = picture(*size)
    found = CONVENTIONS["wdv3-timm"].prepare(rgb)
    assert (found.shape, found.dtype) == ((3, 448, 448), np.dtype(np.float32))
    np.testing.assert_allclose(found, as_public_code_feeds(rgb).numpy(), rtol=0, atol=1e-6)


def test_pad_by_hand() -> None:
    """A red pixel over a black one in the middle column of a 2x2 square, whose other column is white, as BGR."""
    found = Tagging("by-hand", "pad", size=2).prepare(np.array([[[255, 0, 0]], [[0, 0, 0]]], np.uint8))
    white, red, black = [1, 1, 1], [-1, -1, 1], [-1, -1, -1]
    np.testing.assert_allclose(found.transpose(1, 2, 0), [[red, white], [black, white]], atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (5, 3), (64, 300), (448, 448), (501, 333)])
def test_squash_feeds_the_whole_picture_bicubic_antialiased_and_corners_aligned(size: tuple[int, int]) -> None:
    rgb = picture(*size)
    found = CONVENTIONS["colorizediffusion-xl"].prepare(rgb)
    down, across = (squashing(side, 448) for side in size)
    expected = np.einsum("yh,hwc,xw->cyx", down, rgb[..., ::-1] / 127.5 - 1, across, optimize=True)
    assert (found.shape, found.dtype) == ((3, 448, 448), np.dtype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def squashing(before: int, after: int) -> np.ndarray:
    """(after, before): the share of each pixel of a side in each pixel of the resized side.

    Keys' cubic with a = -0.5, as wide as the shrink; with aligned corners steps are (before - 1) / (after - 1).
    """
    step = (before - 1) / (after - 1)
    wide = max(step, 1.0)
    far = np.abs((np.arange(before)[None] + 0.5 - step * (np.arange(after)[:, None] + 0.5)) / wide)
    near = (1.5 * far - 2.5) * far**2 + 1
    tail = ((-0.5 * far + 2.5) * far - 4) * far + 2
    weights = np.where(far < 1, near, np.where(far < 2, tail, 0))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_line_art_is_fed_as_three_equal_channels(name: str) -> None:
    gray = picture(20, 30)[..., 0]
    found = CONVENTIONS[name].prepare(gray)
    np.testing.assert_array_equal(found, CONVENTIONS[name].prepare(np.repeat(gray[..., None], 3, axis=2)))


def test_labels_come_in_groups_from_the_floor_on_and_ratings_always() -> None:
    network = from_config(companions(small_config("wd_convnext_v3")))
    steps = CONVENTIONS["wdv3-timm"].for_network(network)
    probabilities = np.array([0.9, 0.04, 0.0, 0.01, 0.98765, 0.05, 0.0499, 0.3, 0.2, 0.71], np.float32)
    assert steps.finish(probabilities, (8, 8)) == {
        "rating": {"general": 0.9, "sensitive": 0.04, "questionable": 0.0, "explicit": 0.01},
        "general": {"1girl": 0.9876, "solo": 0.05, 'don\'t_say_"lazy"': 0.3, "star_(symbol)": 0.2},
        "character": {"ganyu_(genshin_impact)": 0.71},
    }


def test_a_value_that_is_no_number_is_not_dropped_in_silence() -> None:
    labels = read_labels(csv_rows())
    kept = labels.kept(np.full(10, np.nan, np.float32), 0.05)
    assert [len(group) for group in kept.values()] == [4, 5, 1]


def test_a_convention_says_so_where_it_does_not_know_the_labels() -> None:
    with pytest.raises(ModelError, match="for_network"):
        CONVENTIONS["wdv3-timm"].finish(np.zeros(10, np.float32), (8, 8))
    with pytest.raises(ModelError, match="is of taggers, not of Identity"):
        CONVENTIONS["wdv3-timm"].for_network(torch.nn.Identity())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "hf-hub:someone/something"}, "knows no architecture"),
        ({"architecture": "local-dir:/somewhere"}, "knows no architecture"),
        ({"architecture": "no_such_network"}, "knows no architecture"),
        ({"architecture": 5}, "knows no architecture"),
        ({"model_args": {"pretrained": True}}, "model_args must not be"),
        ({"model_args": {"checkpoint_path": "somewhere.pth"}}, "model_args must not be"),
        ({"model_args": ["dims"]}, "model_args must not be"),
        ({"model_args": {"no_such_argument": 1}}, "timm cannot build convnext_base"),
        ({"model_args": {"depths": "abc"}}, "timm cannot build convnext_base"),
        ({"num_classes": 11}, "11 classes, but selected_tags.csv has 10 labels"),
        ({"num_classes": None}, "None classes"),
        ({"pretrained_cfg": FED | {"input_size": [3, 320, 320]}}, "input_size is"),
        ({"pretrained_cfg": "abc"}, "pretrained_cfg is not an object"),
        ({"pretrained_cfg": [3, 448, 448]}, "pretrained_cfg is not an object"),
        ({"pretrained_cfg": []}, "pretrained_cfg is not an object"),
        ({"pretrained_cfg": 5}, "pretrained_cfg is not an object"),
        ({"pretrained_cfg": FED | {"mean": [0.485, 0.456, 0.406]}}, "mean is"),
    ],
)
def test_a_config_of_another_network_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        from_config(companions(small_config("wd_convnext_v3") | change))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (csv_rows()[1:], "ratings are not"),
        ([*csv_rows()[3::-1], *csv_rows()[4:]], "ratings are not"),
        ([*csv_rows(), {"name": "someone", "category": "1"}], "a category other than"),
        ([*csv_rows(), {"name": "someone"}], "a category other than"),
        ([*csv_rows(), {"name": "1girl", "category": "0"}], "there twice"),
        ([*csv_rows(), {"name": "", "category": "0"}], "empty"),
        ([], "ratings are not"),
    ],
)
def test_labels_that_cannot_be_those_of_a_tagger_are_refused(rows: list[dict[str, str]], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read_labels(rows)


def test_groups_keep_the_order_of_the_outputs_wherever_their_rows_lie() -> None:
    rows = [{"name": "a", "category": "4"}, *csv_rows()[:4], {"name": "b", "category": "0"}]
    labels: Labels = read_labels(rows)
    assert labels.kept(np.arange(6, dtype=np.float32) / np.float32(10), 0.05) == {
        "rating": dict(zip(RATINGS, (0.1, 0.2, 0.3, 0.4), strict=True)),
        "general": {"b": 0.5},
        "character": {},
    }
