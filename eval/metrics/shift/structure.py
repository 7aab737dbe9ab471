"""Structure loss: does the result still draw what the sketch draws?

Lines are extracted again from the result (XDoG, which needs no weights) and held against the sketch's own: the chamfer
distance is the mean way from a line of one to the nearest of the other, in both directions, as a share of the longer
side; the F-score is of lines that have a partner within TOLERANCE of the longer side. Edges between colours are lines
too, so that even a right picture is not perfect: compare results of the same sketches.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from eval.metrics.metric import Metric, means

TOLERANCE = 0.01


def structure(drawn: Tensor, sketch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(chamfer distance (B,), F-score (B,), lines that are lost or new (B, H, W) in [0, 1]) of lines, bool (B, H, W).

    NaN where the sketch has no line; a result without one is as far away as the longer side, and has the F-score 0.
    """
    chamfer, score, places = [], [], torch.zeros(drawn.shape)
    for number, (one, other) in enumerate(zip(drawn.numpy(), sketch.numpy(), strict=True)):
        side = max(one.shape)
        if not other.any():
            chamfer.append(np.nan)
            score.append(np.nan)
            continue
        to_sketch, to_drawn = _way(other, side), _way(one, side)
        lost, new = to_drawn[other] / side, to_sketch[one] / side
        recall, precision = float((lost <= TOLERANCE).mean()), float((new <= TOLERANCE).mean()) if one.any() else 0.0
        chamfer.append((float(lost.mean()) + float(new.mean() if one.any() else 1.0)) / 2)
        score.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
        wrong = (other & (to_drawn > TOLERANCE * side)) | (one & (to_sketch > TOLERANCE * side))
        places[number] = torch.from_numpy(wrong).float()
    return torch.tensor(chamfer), torch.tensor(score), places


def _way(lines: NDArray[np.bool_], side: int) -> NDArray[np.float64]:
    """From each pixel to the nearest line, in pixels."""
    return np.asarray(distance_transform_edt(~lines)) if lines.any() else np.full(lines.shape, float(side))


def _chamfer(result: Tensor, drawn: Tensor, sketch: Tensor) -> dict[str, Tensor]:
    return {"structure_chamfer": structure(drawn, sketch)[0]}


def _score(result: Tensor, drawn: Tensor, sketch: Tensor) -> dict[str, Tensor]:
    return {"structure_f": structure(drawn, sketch)[1]}


def _map(result: Tensor, drawn: Tensor, sketch: Tensor) -> Tensor:
    return structure(drawn, sketch)[2]


STRUCTURE_CHAMFER = Metric(
    name="structure_chamfer",
    title="lines moved",
    needs=("result_lines", "sketch_lines"),
    measure=_chamfer,
    heat_map=_map,
    summarize=means("no sketch has a line"),
    scores="structure_chamfer",
    better="lower",
    meaning="how far the result's lines are from the sketch's, as a share of the picture; 0 is nowhere",
    source="ours; thesis 7.2 asks for a measure",
)
STRUCTURE_F = Metric(
    name="structure_f",
    title="lines kept",
    needs=("result_lines", "sketch_lines"),
    measure=_score,
    summarize=means("no sketch has a line"),
    scores="structure_f",
    better="higher",
    meaning="how many lines of the sketch the result keeps, and draws no others; 1 is all",
    source="ours; thesis 7.2 asks for a measure",
)
