"""The table of metrics: one row each, in the order in which they are listed to a person."""

from collections.abc import Iterable

from eval.metrics.cost import MEMORY, SECONDS
from eval.metrics.known_answer import KNOWN_ANSWER
from eval.metrics.layout_leak import LAYOUT_LEAK
from eval.metrics.metric import Metric
from eval.metrics.ms_ssim import MS_SSIM
from eval.metrics.network_scores import (
    AESTHETIC,
    CLIP_GROUND_TRUTH,
    CLIP_REFERENCE,
    CLIP_TEXT,
    LPIPS_ALEX,
    LPIPS_VGG,
)
from eval.metrics.psnr import PSNR, REGION_PSNR, TOLD_PSNR
from eval.metrics.sets.frechet import CLEAN_FID, FD_DINOV2, FID, FRECHET_DISTANCE
from eval.metrics.sets.kernel_distance import CMMD, KID
from eval.metrics.shift.gram import GRAM_DENOISER, GRAM_ENCODER
from eval.metrics.shift.leakage import LEAKAGE
from eval.metrics.shift.structure import STRUCTURE_CHAMFER, STRUCTURE_F
from eval.metrics.ssim import SSIM

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        FID,
        CLEAN_FID,
        KID,
        FD_DINOV2,
        CMMD,
        FRECHET_DISTANCE,
        PSNR,
        TOLD_PSNR,
        SSIM,
        MS_SSIM,
        REGION_PSNR,
        KNOWN_ANSWER,
        LAYOUT_LEAK,
        LPIPS_ALEX,
        LPIPS_VGG,
        CLIP_GROUND_TRUTH,
        CLIP_REFERENCE,
        CLIP_TEXT,
        AESTHETIC,
        GRAM_ENCODER,
        GRAM_DENOISER,
        LEAKAGE,
        STRUCTURE_CHAMFER,
        STRUCTURE_F,
        SECONDS,
        MEMORY,
    )
}


def metric_of(score: str, metrics: Iterable[Metric] = METRICS.values()) -> Metric | None:
    """The metric that a score of this name belongs to: the one with the longest beginning of it; None for none.

    Where pairs cannot be measured, the score without a value has the metric's own name.
    """
    belonging = [metric for metric in metrics if score.startswith(metric.scores) or score == metric.name]
    return max(belonging, key=lambda metric: len(metric.scores), default=None)
