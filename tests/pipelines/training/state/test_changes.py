"""What a run that goes on may have other than it was begun with, and what would make it another run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.errors import PipelineError
from pipelines.training.plan import TrainPlan
from pipelines.training.stage import plan_stage, train_stage
from pipelines.training.state.changes import Changes, accepted_changes
from tests.pipelines.training.train_helpers import quick_recipe


def changed(before: dict[str, Any], *, images_seen: int = 64, stopped: bool = False, **after: Any) -> Changes:
    recorded, wanted = quick_recipe(**before).flat(), quick_recipe(**before, **after).flat()
    return accepted_changes("out", recorded, wanted, images_seen=images_seen, stopped=stopped)


def test_the_same_recipe_has_no_changes() -> None:
    assert changed({}) == {}


def test_intervals_of_states_samples_and_validation_may_change() -> None:
    wanted: dict[str, Any] = {"checkpoint_images": 8, "sample_images": 16, "validate_images": 64}
    found = changed({}, **wanted)
    assert {name: after for name, (_, after) in found.items()} == wanted


def test_a_run_may_be_made_longer_while_no_step_would_have_had_another_rate() -> None:
    assert changed({}, images=128, epochs=9.0) == {"images": (64, 128), "epochs": (5.0, 9.0)}
    assert changed({"decay_images": 32}, images_seen=32, images=128) == {"images": (64, 128)}
    with pytest.raises(PipelineError, match=r"its rate has fallen over the last 32 of them .* 40 are done"):
        changed({"decay_images": 32}, images_seen=40, images=128)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"images": 32}, "images: 64 -> 32"),
        ({"batch_size": 4}, "batch_size: 8 -> 4"),
        ({"images": 128, "seed": 5}, "seed: 0 -> 5"),
        ({"learning_rate": 0.5}, "learning_rate: .* -> 0.5"),
    ],
)
def test_anything_else_is_another_run(after: dict[str, Any], words: str) -> None:
    with pytest.raises(PipelineError, match=rf"{words}\).*may have more images"):
        changed({}, **after)


def test_a_run_that_stopped_may_go_on_calmer() -> None:
    after: dict[str, Any] = {"learning_rate": 1e-5, "gradient_clip": 0.5, "warmup_images": 16}
    assert changed({}, stopped=True, **after).keys() == after.keys()
    with pytest.raises(PipelineError, match="weight_decay"):
        changed({}, stopped=True, weight_decay=0.5, **after)


@pytest.fixture
def finished(drawn_corpus: str, tmp_path: Path) -> Callable[..., TrainPlan]:
    """The plan of a finished run of 64 images without states, with some settings changed."""

    def plan(**after: Any) -> TrainPlan:
        return plan_stage(quick_recipe(**after), drawn_corpus, str(tmp_path), None, workers=1)

    (tmp_path / "recipe.json").write_text(json.dumps(plan().document()))
    (tmp_path / "lineage.json").write_text("{}")
    (tmp_path / "history.jsonl").write_text('{"images_seen": 64, "loss": 0.5}\n')
    return plan


def test_a_finished_run_whose_states_are_gone_is_complete_but_cannot_go_on(
    finished: Callable[..., TrainPlan], tmp_path: Path
) -> None:
    assert train_stage(finished(), log_file=tmp_path / "log").already_complete
    with pytest.raises(PipelineError, match="a finished run without its states"):
        finished(images=128)


def test_a_longer_run_that_stopped_is_not_taken_for_finished(
    finished: Callable[..., TrainPlan], tmp_path: Path
) -> None:
    (tmp_path / "stopped.json").write_text("{}")
    with pytest.raises(PipelineError, match="a finished run without its states"):
        finished()
