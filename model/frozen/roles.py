"""The frozen networks around a family by the part they play: which loader reads each, given its id and its file."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from model.frozen.codec import load_codec
from model.frozen.image_encoder import load_image_encoder

# role -> (id, file or None where it ships) -> the network, in evaluation mode, on the CPU
LOADERS: Mapping[str, Callable[[str, Path | None], nn.Module]] = {
    "codec": load_codec,
    "image_encoder": load_image_encoder,
}
