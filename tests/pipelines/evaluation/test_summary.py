"""What an evaluation prints for a person: scores first, within 80 columns, each under two names."""

import json
from pathlib import Path

from pipelines.evaluation.summary import scores_text, settings_of

KEPT = json.loads((Path(__file__).parents[2] / "assets" / "written_by_0_1" / "score" / "scores.json").read_text())


def test_scores_come_first_with_bounds_and_units_under_readable_and_exact_names() -> None:
    lines = scores_text(KEPT).splitlines()
    assert lines[0] == "known-answer, 2 pairs"
    assert " ".join(lines[1].split()) == "its reference's colours 0.500 0.095 to 0.905 known_answer_share"
    assert " ".join(lines[3].split()) == "PSNR within hair 11.28 dB psnr_hair"
    assert "    psnr_eyes: no scored picture shows this region" in lines
    assert not [line for line in lines if "lower95" in line]
    assert max(map(len, lines)) <= 80


def test_the_widest_names_and_values_stay_within_80_columns() -> None:
    scores = {
        "fid_efficientnet_lite0_320": 1234.5,
        "fid_efficientnet_lite0_320_lower95": 1100.25,
        "fid_efficientnet_lite0_320_upper95": 1300.75,
        "ms_ssim_4scales": 0.8,
        "theirs": 3.0,
    }
    lines = scores_text(KEPT | {"scores": scores, "reasons": {}}).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1].split() == ["theirs", "3.00", "theirs"]


def test_settings_are_all_else_that_is_saved() -> None:
    settings = settings_of(KEPT)
    assert {"sampling", "checkpoint", "seed", "corpus_digest"} <= settings.keys()
    assert not {"scores", "reasons", "samples", "protocol"} & settings.keys()
