"""The state dict of the published Inception with made-up weights, so that every program can be given the same."""

from pathlib import Path

import torch
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


def published_inception(folder: Path) -> nn.Module:
    """torch-fidelity's network, whose state dict has the layout of the published file; made-up weights."""
    empty = folder / "empty.pth"
    torch.save({}, empty)
    generator = torch.Generator().manual_seed(0)
    whole = FeatureExtractorInceptionV3.load_state_dict
    FeatureExtractorInceptionV3.load_state_dict = lambda self, state: None  # it takes no network without a file
    try:
        network: nn.Module = FeatureExtractorInceptionV3("inception", ["2048"], str(empty))
    finally:
        FeatureExtractorInceptionV3.load_state_dict = whole
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * (2 / fan) ** 0.5
        if isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            module.weight.data = 1 + 0.1 * torch.randn(count, generator=generator)
            module.bias.data = 0.1 * torch.randn(count, generator=generator)
            module.running_mean = 0.1 * torch.randn(count, generator=generator)
            module.running_var = 1 + 0.1 * torch.rand(count, generator=generator)
    return network
