"""Structural similarity of one result and its truth at one scale (Wang et al. 2004), as RASC reports it.

The map is torchmetrics': a Gaussian window of 11 pixels with a sigma of 1.5. Its mean is over the pixels around which
the window fits, as in the published code and in scikit-image; torchmetrics' own mean is also over those at the border,
where the picture is mirrored.
"""

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from eval.metrics.metric import Metric, means
from eval.metrics.pictures import check_pictures

WINDOW = 11


def ssim(result: Tensor, truth: Tensor) -> Tensor:
    """SSIM per picture, (B,), at most 1; pictures (B, 3, H, W) in [0, 1], at least WINDOW pixels a side."""
    check_pictures(result, truth)
    _, similarity = structural_similarity_index_measure(
        result, truth, sigma=1.5, kernel_size=WINDOW, data_range=1.0, reduction="none", return_full_image=True
    )
    edge = WINDOW // 2
    return similarity[..., edge:-edge, edge:-edge].mean(dim=(1, 2, 3))


def _measure(result: Tensor, truth: Tensor) -> dict[str, Tensor]:
    return {"ssim": ssim(result, truth)}


SSIM = Metric(
    name="ssim",
    title="structure (SSIM)",
    needs=("truth",),
    measure=_measure,
    summarize=means(),
    scores="ssim",
    better="higher",
    meaning="closeness in structure at the finest scale; 1 is identical",
    smallest_side=WINDOW,
    source="Wang et al. 2004; RASC IV",
)
