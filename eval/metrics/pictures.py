"""Scores of one result against its ground truth: PSNR, MS-SSIM and PSNR by region (thesis 3.3.2).

Legend: B pictures, H height, W width. Pictures are float tensors (B, 3, H, W) in [0, 1]; every score is per picture, so
that any mean, interval or table of single pictures can be made from it later. MS-SSIM is torchmetrics' function; a
picture too small for its five scales is scored on fewer, under a name that says so.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from eval.errors import EvalError

UNSCORED = 255
"""Class of a pixel that no region score counts: a line, or a pixel blended between two regions."""

# Wang et al. 2003: the weight of each scale, finest first.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

# scales -> smallest side on which torchmetrics computes them with the 11-pixel window
SMALLEST_SIDE = {5: 176, 4: 99, 3: 44}


def check_pictures(*batches: Tensor) -> None:
    """Raise ValueError unless all batches are equal in shape, (B, 3, H, W), and lie in [0, 1] without NaN."""
    for batch in batches:
        if batch.ndim != 4 or batch.shape[1] != 3 or batch.shape != batches[0].shape:
            raise ValueError(
                f"pictures must be (B, 3, H, W) and equal in shape, not {[tuple(b.shape) for b in batches]}"
            )
        if not bool(((batch >= 0) & (batch <= 1)).all()):
            raise ValueError("pictures must lie in [0, 1]; clamp them, or map [-1, 1] by (x + 1) / 2 first")


def _decibel(mse: Tensor) -> Tensor:
    """10 log10(peak² / MSE) with peak 1; no error at all gives infinity."""
    return -10 * torch.log10(mse)


def psnr(result: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB per picture, shape (B,), from the MSE of thesis (3.3); identical pictures give infinity."""
    check_pictures(result, truth)
    return _decibel((result - truth).square().mean(dim=(1, 2, 3)))


def region_psnr(result: Tensor, truth: Tensor, classes: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """PSNR in dB of every region of every picture: name -> (B,), NaN where the picture lacks the region.

    classes: uint8 (B, H, W), an index into `names`; 255 is scored nowhere. Any other index raises ValueError.
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


def ms_ssim(result: Tensor, truth: Tensor) -> tuple[str, Tensor]:
    """Multi-scale SSIM: (name, per picture values (B,) in [0, 1]).

    "ms_ssim" is the published metric, five scales, for pictures whose shorter side is at least 176 pixels. Down to 99
    pixels four scales are used under the name "ms_ssim_4scales", down to 44 three, "ms_ssim_3scales": the finest ones,
    their weights divided by their sum. Raises EvalError for smaller pictures.
    """
    check_pictures(result, truth)
    side = min(result.shape[2:])
    scales = next((n for n, smallest in SMALLEST_SIDE.items() if side >= smallest), None)
    if scales is None:
        raise EvalError(f"MS-SSIM needs pictures of at least {min(SMALLEST_SIDE.values())} pixels a side, not {side}")
    weights = SCALE_WEIGHTS[:scales]
    values = multiscale_structural_similarity_index_measure(
        result,
        truth,
        data_range=1.0,
        betas=tuple(w / sum(weights) for w in weights),
        reduction="none",
        normalize="relu",
    )
    return "ms_ssim" if scales == 5 else f"ms_ssim_{scales}scales", values.reshape(-1)
