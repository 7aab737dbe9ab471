"""The figure of a picture by a network of the weight store, as the masks of a corpus are made."""

from typing import TYPE_CHECKING

import numpy as np

from dataprep.lines.region_map import RegionSettings
from dataprep.operators.learned_columns import LearnedSettings
from dataprep.operators.row_input import RowInput
from dataprep.operators.styles import StyleSettings
from dataprep.pictures.decode import Picture, decode_png, encode_png
from pipelines.extraction.learned_operators import NetworkColumn, learned, with_weights
from pipelines.extraction.line_extractor import exact
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings

if TYPE_CHECKING:
    import torch

OF_SKETCHES = "isnet_sketch"
MASK_NETWORKS = ("isnetis", "isnet_general", OF_SKETCHES)


class MaskExtractor:
    """Finds the figure by one of MASK_NETWORKS; the network loads with the first picture."""

    def __init__(self, name: str, device: "torch.device") -> None:
        """Raises PipelineError, naming the command that brings them, where the store lacks the weights."""
        column = "sketch_mask" if name == OF_SKETCHES else "mask"
        recipe = BuildRecipe(
            styles=StyleSettings(xdog=1.0),
            regions=RegionSettings(lines=()),
            learned=LearnedSettings(**{column: name}),  # type: ignore[arg-type]  # one of its literals
            networks=NetworkSettings(device="cuda" if device.type == "cuda" else "cpu"),
        )
        self._device = device
        (self._operator,) = (found for found in learned(with_weights(recipe)) if found.column == column)

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """uint8 (H, W), 255 = figure, of uint8 (H, W, 3); a sketch has black lines on white. Raises DataError."""
        assert isinstance(self._operator.network, NetworkColumn)
        looked_at = self._operator.network.view.columns
        gray = encode_png(np.ascontiguousarray(rgb[..., 0])) if looked_at else b""
        row = RowInput("", b"", Picture(rgb, None, source_is_plain_rgb=False), columns=dict.fromkeys(looked_at, gray))
        with exact(self._device):
            value = self._operator.value(row)
        assert isinstance(value, bytes), "every row has a mask"
        return decode_png(value)
