"""State dicts as published files have them, with made-up weights."""

from pathlib import Path

import pytest
import torch
from torch import nn


def published_inception(folder: Path) -> nn.Module:
    """torch-fidelity's network, whose state dict has the layout of the published file; made-up weights."""
    extractors = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is not installed"
    )
    kind = extractors.FeatureExtractorInceptionV3
    empty = folder / "empty.pth"
    torch.save({}, empty)
    generator = torch.Generator().manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "load_state_dict", lambda self, state: None)  # it takes no network without a file
        network: nn.Module = kind("inception", ["2048"], feature_extractor_weights_path=str(empty))
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
