"""Line art of a colour picture, drawn as the sketches of a corpus are: by XDoG, or by a network of the weight store.

Nothing is drawn by lot here: where a corpus draws XDoG's sigma for each row, one of them is fixed (`XDOG`).
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from dataprep.lines.line_art import LineArt
from dataprep.lines.region_map import RegionSettings
from dataprep.lines.xdog import COMMON, XDoGSettings, xdog
from dataprep.operators.row_input import RowInput
from dataprep.operators.styles import REWORKED, StyleSettings
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import Picture, decode_png, encode_png
from dataprep.pictures.guarded import decode
from dataprep.pictures.resize import fitted_size, resize_color
from dataprep.samples.sample import resize_sketch
from pipelines.extraction.learned_operators import learned, with_weights
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings
from pipelines.weights.store import combined_sha256, recorded_hashes

if TYPE_CHECKING:
    import torch

MOST_SIDE = 2048  # px: lines of a larger picture are drawn at this long side
XDOG = {"xdog": XDoGSettings(sigma=0.6), "xdog_common": COMMON[0.4]}


def extractor_sha256(style: str) -> str:
    """One hash of the weights that `style` takes, "" where it takes none.

    Raises PipelineError, naming the command that brings them, where the store lacks them. Nothing is loaded.
    """
    hashes, _ = recorded_hashes(with_weights(_recipe(style)).weights_sha256)
    return combined_sha256(hashes) if hashes else ""


class LineExtractor:
    """Draws line art in one of the styles that a corpus can have; networks load with the first picture."""

    def __init__(self, style: str, device: "torch.device") -> None:
        """Raises PipelineError as `extractor_sha256` does."""
        self.style, self.device = style, device
        recipe = with_weights(_recipe(style, device))
        self.operators = {operator.column: operator for operator in learned(recipe)}

    def __call__(self, data: bytes) -> LineArt:
        """The line art of an encoded colour picture, at its size; lines are black. Raises DataError."""
        rgb = decode(data).rgb
        height, width = rgb.shape[:2]
        seen = rgb
        if max(height, width) > MOST_SIDE:
            seen = resize_color(rgb, *fitted_size((width, height), MOST_SIDE, MOST_SIDE, "contain"))
        with exact(self.device):
            gray = decode_png(self._drawn(self.style, Picture(seen, None, source_is_plain_rgb=False)))
        if seen is not rgb:
            gray = resize_sketch(gray, width, height)
        lines = np.zeros((height, width, 4), np.uint8)
        lines[..., 3] = 255 - gray
        return LineArt(gray, lines, "dark")

    def _drawn(self, style: str, picture: Picture) -> bytes:
        """The sketch as a PNG, (H, W) of the picture."""
        if style in XDOG:
            return encode_png(xdog(gray_of(picture), XDOG[style]))
        source = REWORKED.get(style)
        columns = {} if source is None else {f"sketch_{source}": self._drawn(source, picture)}
        value = self.operators[f"sketch_{style}"].value(RowInput("", b"", picture, columns=columns))
        assert value is not None, "every row draws a style of share 1"
        return value


def _recipe(style: str, device: "torch.device | None" = None) -> BuildRecipe:
    """A corpus of this style alone."""
    styles = StyleSettings(**{"xdog": 0.0} | {style: 1.0})
    on_gpu = device is not None and device.type == "cuda"
    networks = NetworkSettings(device="cuda" if on_gpu else "cpu")
    return BuildRecipe(styles=styles, regions=RegionSettings(lines=()), networks=networks)


@contextmanager
def exact(device: "torch.device") -> Iterator[None]:
    """On this GPU where it is one, and with float32 that means float32, as corpora have it."""
    import torch

    on = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with on, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
