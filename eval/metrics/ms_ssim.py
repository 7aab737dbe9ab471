"""Multi-scale structural similarity of one result and its truth (thesis 3.3.2, eqs. 3.4 and 3.5; Wang et al. 2003).

The function is torchmetrics'. A picture too small for its five scales is scored on fewer, under a name that says so:
the window of the coarsest scale must fit into the picture.
"""

from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from eval.errors import EvalError
from eval.metrics.metric import Metric, means
from eval.metrics.pictures import check_pictures

# Wang et al. 2003: the weight of each scale, finest first.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

# scales -> smallest side on which torchmetrics computes them with the 11-pixel window
SMALLEST_SIDE = {5: 176, 4: 99, 3: 44}


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


def _measure(result: Tensor, truth: Tensor) -> dict[str, Tensor]:
    name, values = ms_ssim(result, truth)
    return {name: values}


MS_SSIM = Metric(
    name="ms_ssim",
    title="structure (MS-SSIM)",
    needs=("truth",),
    measure=_measure,
    summarize=means(),
    scores="ms_ssim",
    better="higher",
    meaning="closeness in structure; 1 is identical",
    smallest_side=min(SMALLEST_SIDE.values()),
    source="thesis 3.3.2, eqs. 3.4 and 3.5; Wang et al. 2003",
)
