"""The known-answer share on results whose answer is known."""

import pytest
import torch

from eval.metrics.intervals import wilson
from eval.metrics.known_answer import known_answer_share, nearer_to_own

RED = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
BLUE = RED.flip(1)
ROSE = (RED * 0.8 + BLUE * 0.2).clamp(0, 1)


def test_a_result_nearer_to_its_own_truth_is_right() -> None:
    result, own, other = torch.cat([ROSE, ROSE]), torch.cat([RED, BLUE]), torch.cat([BLUE, RED])
    assert nearer_to_own(result, own, other).tolist() == [1, 0]


def test_a_tie_counts_half() -> None:
    assert nearer_to_own(ROSE, BLUE, BLUE).tolist() == [0.5]


def test_only_masked_pixels_decide() -> None:
    result = RED.clone()
    result[..., 1:] = BLUE[..., 1:]
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[..., 0] = True
    assert nearer_to_own(result, RED, BLUE, mask).item() == 1
    assert nearer_to_own(result, RED, BLUE).item() == 0


def test_a_result_that_ignores_its_reference_scores_one_half_over_a_couple() -> None:
    couple = nearer_to_own(torch.cat([ROSE, ROSE]), torch.cat([RED, BLUE]), torch.cat([BLUE, RED]))
    assert known_answer_share(couple).value == 0.5


def test_the_share_has_wilson_bounds() -> None:
    score = known_answer_share(torch.tensor([1.0, 1.0, 0.0, 1.0]))
    assert (score.value, score.pairs) == (0.75, 4)
    assert score.interval == pytest.approx(wilson(3, 4))
