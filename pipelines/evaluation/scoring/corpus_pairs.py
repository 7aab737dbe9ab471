"""What protocols take of a corpus: the facts of its held-out rows, and the pictures of a pair at the model's size."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from dataprep.corpus.reader import CorpusReader
from dataprep.errors import DataError
from dataprep.pictures import assembled
from dataprep.pictures.decode import decode_png
from dataprep.pictures.guarded import decode
from dataprep.pictures.resize import resize_color
from dataprep.randomness import generator
from dataprep.samples.deformation import DeformationSettings, deform
from dataprep.samples.sample import Sample, SampleSettings, cover_size, evaluation_sample, from_model_image
from dataprep.samples.values import Floats
from eval.protocols.pairing import Pair
from eval.protocols.protocol import Bytes, Regions
from model.families.v15.settings import PartedSettings


class ReaderRows:
    """The rows of a reader, as eval.protocols.protocol.CorpusRows."""

    def __init__(self, reader: CorpusReader) -> None:
        self._reader = reader

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all rows, sorted."""
        return self._reader.ids

    def facts(self) -> Iterator[dict[str, Any]]:
        """Of each row its id and metadata, in the order of `ids`."""
        return (self._reader.row(index) for index in range(len(self._reader)))


class PairCorpus:
    """A corpus that gives the pictures of any pair; `settings` are the scored model's. squashed: pictures of another
    shape are squashed, not cut."""

    def __init__(self, reader: CorpusReader, settings: SampleSettings, *, squashed: bool = False) -> None:
        self.reader, self.settings, self.squashed = reader, settings, squashed
        self._index = {row_id: index for index, row_id in enumerate(reader.ids)}

    def row(self, row_id: str) -> dict[str, Any]:
        """The row with this id."""
        return self.reader.row(self._index[row_id])

    def pictures(self, pair: Pair) -> "CorpusPictures":
        """The pictures of one pair. They are read when they are asked for."""
        return CorpusPictures(self, pair)


class CorpusPictures:
    """The pictures of one pair, as eval.protocols.protocol.PairPictures; and its sketch, which the model takes."""

    def __init__(self, corpus: PairCorpus, pair: Pair) -> None:
        self._corpus, self._pair, self._settings = corpus, pair, corpus.settings

    @cached_property
    def _row(self) -> dict[str, Any]:
        return self._corpus.row(self._pair.sketch_id)

    @cached_property
    def _sample(self) -> Sample:
        styles = self._settings.styles
        style = next((style for style in styles if self._row.get(f"sketch_{style}") is not None), styles[0])
        return evaluation_sample(self._row, self._settings, style, squashed=self._corpus.squashed)

    @property
    def style(self) -> str:
        """Of the sketch: the first of the settings' styles that its row has."""
        return self._sample.style

    @property
    def pair_type(self) -> str:
        """What the sketch and the reference show, "figure", "other" or "unknown" each, such as "figure, other"."""
        reference = self._corpus.row(self._pair.reference_id)
        return f"{_shows(self._row)}, {_shows(reference)}"

    @property
    def text(self) -> str:
        """What is said of the sketch's row: its caption, else its tags; empty where there is neither."""
        return self._row.get("caption") or ", ".join(tag.replace("_", " ") for tag in self._row.get("tags") or ())

    @property
    def sketch(self) -> Floats:
        """The sketch (3, H, W) as the model takes it. Raises DataError that names a row without one."""
        return self._sample.sketch

    @cached_property
    def original(self) -> Bytes:
        """The sketch's own picture at model size, (H, W, 3)."""
        return from_model_image(self._sample.color)

    def whole(self, row_id: str) -> Bytes:
        """The whole picture of a row at its own size, (h, w, 3)."""
        return decode(self._corpus.row(row_id)["color"]).rgb

    def deformed(self, row_id: str, seed: int) -> Bytes:
        """The whole picture of a row, warped as the seed decides (dataprep.samples.deformation)."""
        return deform(self.whole(row_id), generator(seed, 0, "deform"), DeformationSettings())

    @property
    def sketch_mask(self) -> Floats:
        """The figure of the sketch's own picture at model size, (1, H, W) in [0, 1]."""
        return self._sample.pictures["mask"]

    def mask(self, row_id: str) -> Bytes:
        """The figure of a row's whole picture, (h, w), 255 = figure. Raises DataError that names a row without one."""
        row = self._corpus.row(row_id)
        if row.get("mask") is None:
            raise DataError(f"row {row_id} has no mask")
        return decode_png(row["mask"])

    def deformed_mask(self, row_id: str, seed: int) -> Bytes:
        """The same, warped as `deformed` warps the picture; what comes from outside is no figure."""
        ground = np.repeat(255 - self.mask(row_id)[..., None], 3, axis=2)
        return 255 - deform(ground, generator(seed, 0, "deform"), DeformationSettings())[..., 0]

    def recolored(self, drawing_of: str, colors_of: str) -> Bytes:
        """One row's drawing in another's colours, drawn at the row's size and reduced like every picture."""
        drawing, colors = self._assembly(drawing_of), self._assembly(colors_of)
        rgb = assembled.render(assembled.recolored(drawing, colors), self._corpus.row(drawing_of)["width"])
        return resize_color(rgb, *cover_size(rgb, self._settings.width, self._settings.height))

    def regions(self, row_id: str) -> Regions:
        """The regions of an assembled drawing at model size, which is square."""
        return Regions(assembled.region_classes(self._assembly(row_id), self._settings.width), assembled.REGIONS)

    def shown_regions(self, row_id: str) -> frozenset[str]:
        """The regions whose colour an assembled drawing shows."""
        return assembled.shown_regions(self._assembly(row_id))

    def _assembly(self, row_id: str) -> assembled.Assembly:
        return assembled.from_json(self._corpus.row(row_id)["assembly"])


def _shows(row: Mapping[str, Any]) -> str:
    """Whether a row shows a figure: by its tags, as v1.5 tells (model.families.v15); assembled drawings do."""
    tags = set(row.get("tags") or ())
    if row.get("assembly") or tags & set(PartedSettings().character_tags):
        return "figure"
    return "other" if tags else "unknown"
