"""The feature network against an independent implementation of its architecture, and its promises.

`efficientnet_lite0_features.npy` holds the block-16 output, averaged over the picture, that the package
efficientnet-lite-pytorch 0.1.0 gives with the same weights for `wave()`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from model.errors import ModelError
from model.feature_networks import efficientnet
from model.feature_networks.efficientnet import features, load, prepare
from model.feature_networks.table import EFFICIENTNET_LITE0, FEATURES

ASSETS = Path(__file__).parents[2] / "assets"


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return load()[0]


def wave(height: int = 224, width: int = 224) -> torch.Tensor:
    """A smooth coloured picture made by formula, (1, 3, H, W)."""
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    return torch.stack([torch.sin(9 * x + 5 * y + phase) * 0.5 + 0.5 for phase in (0, 1, 2)])[None]


def test_features_are_those_of_the_independent_implementation(network: nn.Module) -> None:
    expected = torch.from_numpy(np.load(ASSETS / "efficientnet_lite0_features.npy"))
    torch.testing.assert_close(features(network, wave())[0], expected, atol=1e-4, rtol=1e-4)


def test_features_of_a_picture_do_not_depend_on_its_batch(network: nn.Module) -> None:
    pictures = torch.rand(5, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([features(network, picture[None]) for picture in pictures])
    torch.testing.assert_close(features(network, pictures), alone, atol=1e-5, rtol=1e-5)


def test_different_pictures_have_different_features(network: nn.Module) -> None:
    flat = torch.full((1, 3, 224, 224), 0.5)
    assert (features(network, wave()) - features(network, flat)).norm() > 1


def test_the_resize_is_pillows_antialiased_bicubic() -> None:
    picture = wave(300, 260)
    planes = [
        Image.fromarray((plane * 255).numpy()).resize((224, 224), Image.Resampling.BICUBIC) for plane in picture[0]
    ]
    expected = (torch.from_numpy(np.stack([np.asarray(plane) for plane in planes])).clamp(0, 255) - 127) / 128
    torch.testing.assert_close(prepare(picture)[0], expected, atol=1e-3, rtol=0)


def test_black_and_white_reach_the_network_as_the_weights_were_trained() -> None:
    extremes = torch.stack([torch.zeros(3, 224, 224), torch.ones(3, 224, 224)])
    assert prepare(extremes)[:, 0, 0, 0].tolist() == [-127 / 128, 1.0]


def test_the_table_says_how_long_its_vectors_are(network: nn.Module) -> None:
    assert FEATURES[EFFICIENTNET_LITE0].dims == features(network, wave()).shape[1] == 320
    assert FEATURES[EFFICIENTNET_LITE0].compute() is features


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"damaged")
    monkeypatch.setattr(efficientnet, "_weights_file", lambda: tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="reinstall"):
        load()
