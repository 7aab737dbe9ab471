"""The learning rate over a stage, and what an optimizer may be set to."""

from typing import Any

import pytest

from model.optimizer import OptimizerSettings
from pipelines.training.schedule import average_decay, scheduled_rate


def rate(images_seen: int, warmup_images: int = 0, decay_images: int = 0) -> float:
    return scheduled_rate(
        0.5, images_seen, images=100, batch_size=10, warmup_images=warmup_images, decay_images=decay_images
    )


def test_without_warm_up_and_decay_the_rate_is_constant() -> None:
    assert {rate(seen) for seen in range(0, 100, 10)} == {0.5}


def test_the_rate_rises_in_equal_steps_to_its_peak() -> None:
    found = [rate(seen, warmup_images=40) for seen in (0, 10, 20, 30, 40, 90)]
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])


def test_the_rate_falls_to_a_tenth_over_the_last_images() -> None:
    found = [rate(seen, decay_images=40) for seen in (50, 60, 70, 80, 90, 99)]
    assert found == pytest.approx([0.5, 0.5, 0.375, 0.25, 0.125, 0.05])


def test_warm_up_goes_before_decay_where_they_meet() -> None:
    assert rate(0, warmup_images=100, decay_images=100) == pytest.approx(0.5 * 10 / 110)


def test_a_moving_average_forgets_the_beginning_soon_and_ends_at_its_own_decay() -> None:
    assert [average_decay(0.9999, steps) for steps in (0, 1, 8)] == pytest.approx([0.1, 2 / 11, 0.5])
    assert average_decay(0.9999, 10**6) == 0.9999
    assert average_decay(0.3, 8) == 0.3


def test_the_optimizer_of_the_papers_is_what_is_set_without_being_asked() -> None:
    """ColorizeDiffusion, section 4.1."""
    settings = OptimizerSettings()
    assert (settings.kind, settings.learning_rate, settings.beta1, settings.beta2) == ("adamw", 1e-5, 0.9, 0.999)
    assert (settings.weight_decay, settings.gradient_clip) == (0.01, 0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"beta1": 1.0},
        {"beta2": -0.1},
        {"weight_decay": -0.1},
        {"gradient_clip": -1.0},
        {"kind": "sgd"},
    ],
    ids=str,
)
def test_an_optimizer_that_cannot_work_is_refused_by_the_name_of_the_setting(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        OptimizerSettings(**change)
