"""What stands in one ranking, and in which order."""

from typing import Any

import pyarrow as pa
import pytest

from pipelines.common.errors import PipelineError
from pipelines.sweep import leaderboard
from pipelines.sweep.leaderboard import rankings, read_cells, text


def cell(scores: dict[str, float | None], **changes: Any) -> dict[str, Any]:
    document = {
        "protocol": "random-reference",
        "corpus_digest": "d" * 64,
        "samples": 100,
        "width": 64,
        "height": 64,
        "resize": "cover",
        "styles": {"drawn": 100},
        "without_reference": False,
        "scores": scores,
        "feature_network": "inception_2048@aaaa, dinov2_vitl14@bbbb",
        "checkpoint": "/runs/a/checkpoint",
        "checkpoint_weights": "w1",
        "pictures": None,
        "ema": False,
        "seed": 0,
        "sampling": {"steps": 20, "injection": {"fidelity": 0.5}},
    }
    return document | changes


@pytest.fixture(autouse=True)
def no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "read_numbers", lambda uri: pa.table({}))


@pytest.mark.parametrize(
    "unlike",
    [
        {"protocol": "same-group"},
        {"corpus_digest": "e" * 64},
        {"samples": 99},
        {"width": 128},
        {"resize": "squash"},
        {"styles": {"xdog": 100}},
        {"feature_network": "inception_2048@cccc, dinov2_vitl14@bbbb"},
    ],
    ids=lambda unlike: next(iter(unlike)),
)
def test_unlike_scores_never_stand_in_one_ranking(unlike: dict[str, Any]) -> None:
    found = rankings({"1": cell({"fid": 3.0}), "2": cell({"fid": 2.0}, checkpoint_weights="w2", **unlike)})
    assert [len(ranking.entries) for ranking in found] == [1, 1]


def test_a_network_that_a_score_does_not_read_parts_nothing() -> None:
    other = cell({"fid": 2.0}, checkpoint="/runs/b/checkpoint", feature_network="inception_2048@aaaa, dinov2_vitl14@x")
    (ranking,) = rankings({"1": cell({"fid": 3.0}), "2": other})
    assert [entry.value for entry in ranking.entries] == [2.0, 3.0], "lower is better"
    assert ranking.network == "inception_2048@aaaa"


def test_seeds_are_repetitions_and_their_bounds_those_of_independent_draws() -> None:
    cells = {
        str(seed): cell({"fid": 3.0 + seed, "fid_lower95": 2.0 + seed, "fid_upper95": 4.0 + seed}, seed=seed)
        for seed in range(4)
    }
    (ranking,) = rankings(cells)
    (entry,) = ranking.entries
    assert entry.seeds == (0, 1, 2, 3)
    assert entry.value == 4.5
    assert entry.interval == pytest.approx((4.0, 5.0))


def test_a_seed_that_was_scored_twice_is_one_repetition() -> None:
    bounds = {"fid_lower95": 2.0, "fid_upper95": 4.0}
    cells = {"old": cell({"fid": 3.0, **bounds}), "new": cell({"fid": 3.0, "psnr": 20.0, **bounds})}
    entry = next(ranking for ranking in rankings(cells) if ranking.score == "fid").entries[0]
    assert (entry.seeds, entry.outputs, entry.interval) == ((0,), ("new",), (2.0, 4.0))


def test_other_pairs_of_a_person_are_another_row_and_another_systems_seeds_are_one() -> None:
    given = {"protocol": "user-pairs"}
    cells = {"1": cell({"fid": 3.0}, pairing="a", **given), "2": cell({"fid": 5.0}, pairing="b", **given)}
    assert [len(ranking.entries) for ranking in rankings(cells)] == [2]
    theirs = {
        str(seed): cell({"fid": 3.0}, seed=seed, pictures="/x", system="Cobra", checkpoint_weights=f"hash {seed}")
        for seed in range(3)
    }
    (ranking,) = rankings(theirs)
    assert [(entry.scored, entry.seeds) for entry in ranking.entries] == [("Cobra", (0, 1, 2))]


def test_settings_that_all_share_are_not_said_and_retrained_weights_are_another_row() -> None:
    cells = {
        "1": cell({"psnr": 3.0}),
        "2": cell({"psnr": 2.0}, sampling={"steps": 20, "injection": {"fidelity": 0.9}}),
        "3": cell({"psnr": 1.0}, checkpoint_weights="w2"),
        "4": cell({"psnr": None}, checkpoint_weights="w3"),
    }
    (ranking,) = rankings(cells)
    assert [(entry.value, entry.settings) for entry in ranking.entries] == [
        (3.0, "injection.fidelity=0.5"),
        (2.0, "injection.fidelity=0.9"),
        (1.0, "injection.fidelity=0.5"),
    ]


def test_the_text_has_short_names_and_says_what_failed() -> None:
    cells = {"1": cell({"psnr": 21.5}), "2": cell({"psnr": 22.0}, checkpoint="/runs/b/checkpoint")}
    shown = text(rankings(cells), {"runs/c self seed=0": "no weights"})
    lines = shown.splitlines()
    assert lines[0] == "random-reference, 100 pairs at 64x64, cover, sketches drawn, corpus dddddddd"
    assert [line.split() for line in lines[2:4]] == [
        ["22", "b", "(1", "seed", "only)"],
        ["21.5", "a", "(1", "seed", "only)"],
    ]
    assert lines[4] == "not scored: runs/c self seed=0: no weights"
    assert text([], {}) == "nothing is scored yet"


def test_a_folder_without_a_sweep_is_named(tmp_path: Any) -> None:
    with pytest.raises(PipelineError, match="holds no sweep"):
        read_cells(str(tmp_path))
