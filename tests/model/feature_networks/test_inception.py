"""The Inception-v3 of published FIDs against torch-fidelity's, with one set of weights, and how pictures reach it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.evaluation.made_up_inception import published_inception
from model.errors import ModelError
from model.feature_networks.inception import FidInception, clean_features, features, published_layout
from model.weights.reading import load_strictly


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    return published_inception(tmp_path_factory.mktemp("inception"))


@pytest.fixture(scope="module")
def ours(theirs: nn.Module) -> FidInception:
    network = FidInception().eval().requires_grad_(False)
    network.load_state_dict(published_layout(theirs.state_dict()))
    return network


def pictures(side: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_features_are_torch_fidelitys_with_the_same_weights(theirs: nn.Module, ours: FidInception) -> None:
    bytes_ = (pictures(299) * 255).round().to(torch.uint8)
    with torch.inference_mode():
        (expected,) = theirs(bytes_)
        found = ours((bytes_.float() - 128) / 128)
    assert found.shape == (2, 2048)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_pictures_are_resized_as_each_score_says(ours: FidInception) -> None:
    small = pictures(320, 1)
    with torch.inference_mode():
        plain = ours(2 * F.interpolate(small, (299, 299), mode="bilinear", align_corners=False) - 1)
        torch.testing.assert_close(features(ours, small), plain)
        clean = F.interpolate(small, (299, 299), mode="bicubic", antialias=True).clamp(0, 1)
        torch.testing.assert_close(clean_features(ours, small), ours(2 * clean - 1))
        assert (features(ours, small) - clean_features(ours, small)).abs().max() > 1e-6


def test_files_with_and_without_counts_of_batches_are_one_network(theirs: nn.Module) -> None:
    state = theirs.state_dict()
    without = {key: value for key, value in state.items() if "num_batches" not in key}
    assert len(without) < len(state)
    one, other = published_layout(state), published_layout(without)
    assert one.keys() == other.keys() == FidInception().state_dict().keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_file_that_lacks_a_number_or_has_others_says_so(theirs: nn.Module) -> None:
    state = dict(theirs.state_dict())
    assert "AuxLogits.fc.weight" in published_layout(state | {"AuxLogits.fc.weight": torch.zeros(1)})
    del state["Mixed_5b.branch1x1.bn.running_var"]
    with pytest.raises(ModelError, match=r"missing: Mixed_5b.branch1x1.conv.bias; unknown: Mixed_5b.branch1x1.bn.bias"):
        load_strictly(FidInception(), published_layout(state), "a.pth")
