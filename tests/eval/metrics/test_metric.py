"""What scores and metrics promise: a value or a reason, and a refusal that names what is missing."""

import numpy as np
import pytest

from eval.metrics.metric import Score, mean_score, means
from eval.metrics.table import METRICS


def test_a_score_has_a_value_or_a_reason() -> None:
    with pytest.raises(ValueError, match="neither a value nor a reason"):
        Score("psnr", None, 0)


def test_a_mean_is_over_the_pairs_that_have_a_value_and_counts_them() -> None:
    assert mean_score("leak", np.array([1.0, np.nan, 3.0])) == Score("leak", 2.0, 2, (1.0, 3.0))
    assert mean_score("leak", np.array([1.0])) == Score("leak", 1.0, 1), "one value has no bounds"
    assert mean_score("leak", np.full(2, np.nan), "no paper") == Score("leak", None, 0, reason="no paper")


def test_an_infinite_value_stays_infinite() -> None:
    (score,) = means()({"psnr": np.array([20.0, np.inf])})
    assert (score.value, score.interval) == (np.inf, None)


def test_a_pair_without_a_need_is_refused_by_name() -> None:
    why = METRICS["known_answer"].refusal("self", ("truth",), 64, 64)
    assert why == "known_answer needs other_truth, determined, which pairs of self do not have"


def test_the_sketchs_own_picture_is_there_for_every_metric() -> None:
    assert METRICS["fid_efficientnet_lite0_320"].refusal("random-reference", (), 64, 64) == ""


def test_pictures_that_are_too_small_are_refused_with_the_size_that_is_needed() -> None:
    assert METRICS["ms_ssim"].refusal("self", ("truth",), 64, 44) == ""
    assert "at least 44 pixels a side, not 64x40" in METRICS["ms_ssim"].refusal("self", ("truth",), 64, 40)
