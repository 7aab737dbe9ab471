"""Peak signal-to-noise ratio of one result against its truth, over the picture and by region (thesis 3.3.2, eq. 3.3).

Legend: B pictures, H height, W width. Every value is per picture, so that any mean, interval or table of single
pictures can be made from it later.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eval.metrics.metric import Columns, Metric, Score, mean_interval, means
from eval.metrics.pictures import check_pictures

UNSCORED = 255
"""Class of a pixel that no region score counts: a line, or a pixel blended between two regions."""


class RegionMap(NamedTuple):
    """The region of each pixel: uint8 (B, H, W), an index into `names`, or UNSCORED."""

    classes: Tensor
    names: tuple[str, ...]


def _decibel(mse: Tensor) -> Tensor:
    """10 log10(peak² / MSE) with peak 1; no error at all gives infinity."""
    return -10 * torch.log10(mse)


def psnr(result: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB per picture, shape (B,), from the MSE of thesis (3.3); identical pictures give infinity."""
    check_pictures(result, truth)
    return _decibel((result - truth).square().mean(dim=(1, 2, 3)))


def region_psnr(result: Tensor, truth: Tensor, classes: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """PSNR in dB of every region of every picture: name -> (B,), NaN where the picture lacks the region.

    classes: uint8 (B, H, W), an index into `names`; 255 is scored nowhere. Any other index raises ValueError. The MSE
    is that of thesis (3.3), summed over the region's pixels alone.
    """
    check_pictures(result, truth)
    if classes.shape != (result.shape[0], *result.shape[2:]):
        raise ValueError(
            f"classes must be (B, H, W) = {(result.shape[0], *result.shape[2:])}, not {tuple(classes.shape)}"
        )
    unknown = classes[(classes >= len(names)) & (classes != UNSCORED)]
    if unknown.numel():
        raise ValueError(f"class {int(unknown[0])} has no name; the {len(names)} names are {', '.join(names)}")
    error_bhw = (result - truth).square().mean(dim=1)
    return {name: _decibel(_masked_mean(error_bhw, classes == index)) for index, name in enumerate(names)}


def _masked_mean(values_bhw: Tensor, mask_bhw: Tensor) -> Tensor:
    """Mean over the masked pixels of each picture, (B,); NaN for an empty mask."""
    return (values_bhw * mask_bhw).sum(dim=(1, 2)) / mask_bhw.sum(dim=(1, 2))


def told_psnr(result: Tensor, truth: Tensor, told: Tensor) -> Tensor:
    """PSNR in dB per picture, (B,), over the pixels where told, bool (B, H, W), is set; NaN where none is."""
    check_pictures(result, truth)
    return _decibel(_masked_mean((result - truth).square().mean(dim=1), told))


def _measure_told(result: Tensor, truth: Tensor, told: Tensor) -> dict[str, Tensor]:
    return {"told_psnr": told_psnr(result, truth, told)}


def _measure(result: Tensor, truth: Tensor) -> dict[str, Tensor]:
    return {"psnr": psnr(result, truth)}


def _measure_regions(result: Tensor, truth: Tensor, regions: RegionMap) -> dict[str, Tensor]:
    return {f"psnr_{name}": values for name, values in region_psnr(result, truth, *regions).items()}


def _summarize_regions(columns: Columns) -> list[Score]:
    """The mean over the pairs that show a region, in float32, as saved scores have it."""
    scores = []
    for name, values in columns.items():
        present = torch.from_numpy(values[~np.isnan(values)]).float()
        value = float(present.mean()) if len(present) else None
        bounds = mean_interval(present.double().numpy())
        scores.append(Score(name, value, len(present), bounds, reason="" if len(present) else NO_REGION))
    return scores


def _caption(columns: Mapping[str, float]) -> tuple[str, str]:
    return "PSNR", f"{columns['psnr']:.1f} dB"


NO_REGION = "no scored picture shows this region"

PSNR = Metric(
    name="psnr",
    title="PSNR",
    needs=("truth",),
    measure=_measure,
    summarize=means(),
    scores="psnr",
    better="higher",
    unit="dB",
    meaning="closeness to the truth, pixel by pixel; higher is closer",
    caption=_caption,
    source="thesis 3.3.2, eq. 3.3",
)

TOLD_PSNR = Metric(
    name="told_psnr",
    title="PSNR where told",
    needs=("truth", "told"),
    measure=_measure_told,
    summarize=means(),
    scores="told_psnr",
    better="higher",
    unit="dB",
    meaning="the same, without the parts that the reference does not show, whose colour nobody could know",
    source="thesis 3.3.2, eq. 3.3, over the pixels that the reference decides; which those are is ours",
)

REGION_PSNR = Metric(
    name="region_psnr",
    title="PSNR within {part}",
    needs=("truth", "regions"),
    measure=_measure_regions,
    summarize=_summarize_regions,
    scores="psnr_",
    better="higher",
    unit="dB",
    meaning="the same, within {part}",
    source="thesis 3.3.2, eq. 3.3, over the pixels of one region; regions are ours",
)
