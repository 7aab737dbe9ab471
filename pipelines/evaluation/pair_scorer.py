"""Colours the pairs of a protocol and measures each result: what one evaluation worker does, without Ray.

A result row holds plain numbers, the features for distances between distributions, and the pictures of pairs that a
report shows. Sums over rows are the caller's, so that it does not matter which worker had which pair.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from dataprep.corpus.reader import CorpusReader
from dataprep.pictures import assembled
from dataprep.pictures.decode import decode, encode_png
from dataprep.pictures.resize import resize_color
from dataprep.randomness import generator
from dataprep.samples.deformation import DeformationSettings, deform
from dataprep.samples.sample import (
    SampleSettings,
    cover_size,
    evaluation_sample,
    from_model_image,
    reference_picture,
)
from eval.metrics.features import FeatureNetwork, load_efficientnet_lite0
from eval.metrics.known_answer import nearer_to_own
from eval.metrics.layout_leak import layout_leak
from eval.metrics.pictures import ms_ssim, psnr, region_psnr
from eval.protocols import Pair
from model.checkpoint import read_metadata
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.weights.checkpoints import fetch_checkpoint
from pipelines.weights.frozen import open_colorist


@dataclass(frozen=True)
class ScoreJob:
    """What every worker is told."""

    protocol: str
    checkpoint: str
    corpus: str
    snapshot: int
    columns: tuple[str, ...]
    sampling: SamplingSettings
    threads: int
    without_reference: bool = False
    ema: bool = False


@dataclass(frozen=True)
class Prepared:
    """One pair as the model (sketch, reference) and the metrics take it; pictures uint8."""

    sketch: np.ndarray
    reference_rgb: np.ndarray
    truth: np.ndarray
    original: np.ndarray
    other_truth: np.ndarray | None = None
    classes: np.ndarray | None = None
    determined: np.ndarray | None = None
    paper: np.ndarray | None = None
    own_figure: np.ndarray | None = None
    other_figure: np.ndarray | None = None


class PairScorer:
    """Holds the networks and the corpus; called with pairs it returns one row for each."""

    def __init__(self, job: ScoreJob) -> None:
        torch.set_num_threads(job.threads)
        self.job = job
        checkpoint = fetch_checkpoint(job.checkpoint)
        self.pipeline, metadata = open_colorist(checkpoint, _device(), ema=job.ema), read_metadata(checkpoint)
        self.settings = SampleSettings(
            width=metadata.width,
            height=metadata.height,
            styles=tuple(column.removeprefix("sketch_") for column in job.columns if column.startswith("sketch_")),
        )
        self.reader = CorpusReader(job.corpus, "validation", job.columns, job.snapshot)
        self.index = {row_id: i for i, row_id in enumerate(self.reader.ids)}

    @cached_property
    def network(self) -> FeatureNetwork:
        """The feature network of the Fréchet distance."""
        return load_efficientnet_lite0()

    def __call__(self, pairs: Sequence[Pair], shown: Sequence[bool]) -> list[dict[str, Any]]:
        """Colour `pairs` in one batch and measure each; pictures are kept where `shown`."""
        prepared = [self._prepare(pair) for pair in pairs]
        sketches = torch.from_numpy(np.stack([item.sketch for item in prepared]))
        references = [torch.from_numpy(reference_picture(item.reference_rgb)) for item in prepared]
        made = self.pipeline(
            sketches,
            None if self.job.without_reference else references,
            [pair.seed for pair in pairs],
            settings=self.job.sampling,
        )
        results = [from_model_image(picture) for picture in made.cpu().numpy()]
        columns = self._measure(prepared, results)
        rows = [{key: values[i] for key, values in columns.items()} for i in range(len(pairs))]
        return [
            row | _pictures(item, result) if keep else row
            for row, item, result, keep in zip(rows, prepared, results, shown, strict=True)
        ]

    def _measure(self, prepared: Sequence[Prepared], results: Sequence[np.ndarray]) -> dict[str, list[Any]]:
        result, truth = unit(results), unit([item.truth for item in prepared])
        if self.job.protocol == "random-reference":
            originals = unit([item.original for item in prepared])
            return {
                "features": self.network(result).double().tolist(),
                "real_features": self.network(originals).double().tolist(),
            }
        scale_name, structure = ms_ssim(result, truth)
        columns: dict[str, list[Any]] = {"psnr": psnr(result, truth).tolist(), scale_name: structure.tolist()}
        if self.job.protocol == "known-answer":
            other = unit([item.other_truth for item in prepared if item.other_truth is not None])
            columns["nearer"] = nearer_to_own(result, truth, other, _stacked(prepared, "determined")).tolist()
            regions = region_psnr(result, truth, _stacked(prepared, "classes"), assembled.REGIONS)
            columns |= {f"psnr_{name}": values.tolist() for name, values in regions.items()}
            places = (_stacked(prepared, name) for name in ("paper", "own_figure", "other_figure"))
            columns["layout_leak"] = layout_leak(result, truth, *places).tolist()
        return columns

    def _prepare(self, pair: Pair) -> Prepared:
        row, reference_row = self._row(pair.sketch_id), self._row(pair.reference_id)
        styles = self.settings.styles
        style = next((style for style in styles if row.get(f"sketch_{style}") is not None), styles[0])
        sample = evaluation_sample(row, self.settings, style)
        original = from_model_image(sample.color)
        reference_rgb = decode(reference_row["color"]).rgb
        known: dict[str, Any] = {"truth": original}
        if self.job.protocol == "deformed-reference":
            reference_rgb = deform(reference_rgb, generator(pair.seed, 0, "deform"), DeformationSettings())
        if self.job.protocol == "known-answer":
            assert pair.other_reference_id is not None
            known = self._known(row, reference_row, self._row(pair.other_reference_id))
        return Prepared(
            sketch=sample.sketch,
            reference_rgb=reference_rgb,
            original=original,
            **known,
        )

    def _row(self, row_id: str) -> dict[str, Any]:
        return self.reader.row(self.index[row_id])

    def _known(self, row: dict[str, Any], own_row: dict[str, Any], other_row: dict[str, Any]) -> dict[str, Any]:
        """The right answers to a sketch in its own and in another reference's colours, and where they can be told.

        A region that a reference does not show (the hair of a bald head) has no right colour: it is not scored.
        """
        drawing, own, other = (json_assembly(item) for item in (row, own_row, other_row))
        size = self.settings.width
        classes = assembled.region_classes(drawing, size)
        scored = assembled.shown_regions(drawing) & assembled.shown_regions(own)
        compared = scored & assembled.shown_regions(other)
        return {
            "truth": self._answer(drawing, own, row["width"]),
            "other_truth": self._answer(drawing, other, row["width"]),
            "classes": np.where(_within(classes, scored), classes, assembled.NOT_SCORED).astype(np.uint8),
            "determined": _within(classes, compared),
            "paper": _within(classes, ["background"]),
            "own_figure": _figure(own, size),
            "other_figure": _figure(other, size),
        }

    def _answer(self, drawing: assembled.Assembly, colors_of: assembled.Assembly, size: int) -> np.ndarray:
        """The sketch's drawing in a reference's colours, drawn at the row's size and reduced like every picture."""
        rgb = assembled.render(assembled.recolored(drawing, colors_of), size)
        return resize_color(rgb, *cover_size(rgb, self.settings.width, self.settings.height))


def _within(classes: np.ndarray, regions: Collection[str]) -> np.ndarray:
    """Where `classes` (H, W) is one of the named regions."""
    return np.isin(classes, [assembled.REGIONS.index(region) for region in regions])


def _figure(assembly: assembled.Assembly, size: int) -> np.ndarray:
    """Where an assembly has its figure, lines included, bool (size, size)."""
    return ~_within(assembled.region_classes(assembly, size), ["background"])


def _stacked(prepared: Sequence[Prepared], name: str) -> torch.Tensor:
    """One of the optional maps of pairs with a known answer, (B, H, W)."""
    return torch.from_numpy(np.stack([getattr(item, name) for item in prepared]))


def _device() -> torch.device:
    """The GPU that Ray gave this worker, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def json_assembly(row: dict[str, Any]) -> assembled.Assembly:
    """The assembly of a row that has one."""
    return assembled.from_json(row["assembly"])


def unit(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 (H, W, 3) pictures as float32 (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def _pictures(item: Prepared, result: np.ndarray) -> dict[str, bytes]:
    """The pictures of one pair as PNG: the sketch in the human convention, the rest as they are."""
    return {
        "sketch_png": encode_png(from_model_image(-item.sketch)[..., 0]),
        "reference_png": encode_png(item.reference_rgb),
        "result_png": encode_png(result),
        "truth_png": encode_png(item.truth),
    }


def assembly_groups(reader: CorpusReader) -> dict[str, str | None]:
    """id -> group of the rows that are assembled, whose right answer is known."""
    rows = (reader.row(i) for i in range(len(reader)))
    return {row["id"]: row["group"] for row in rows if row["assembly"]}
