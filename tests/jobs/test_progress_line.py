"""The line of a stage: what is told is true, settles, and fits a terminal of 80 columns."""

import pytest

from jobs.progress_line import Pace, columns, duration, progress_line, speed
from pipelines.common.progress import Progress


def paced(*news: tuple[int, float]) -> Pace:
    """A stage of which so many units were done after so many seconds."""
    pace = Pace("x")
    for done, elapsed_s in news:
        pace.update(done, elapsed_s)
    return pace


def left_s(pace: Pace, remaining: int) -> float:
    assert pace.rate is not None
    return remaining / pace.rate


@pytest.mark.parametrize(
    ("rate", "told"),
    [(1234.56, "1,234.6/s"), (1.0, "1.0/s"), (0.24, "4.2 s a picture"), (0.05, "20 s a picture")],
)
def test_what_is_slow_is_told_in_seconds_for_one(rate: float, told: str) -> None:
    assert speed(rate, "pictures") == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(7, "7 s"), (59.6, "1 min 00 s"), (150, "2 min 30 s"), (7500, "2 h 05 min")]
)
def test_long_times_are_told_in_hours(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_what_was_done_before_the_stage_began_is_no_speed() -> None:
    """A training that was resumed at 9,000 of 12,000 images."""
    assert paced((9000, 0.0), (9050, 10.0)).rate == pytest.approx(5)


def test_a_network_that_loads_for_a_minute_is_forgotten_in_the_next() -> None:
    pace = paced((0, 0.0), *((done, 60.0 + done) for done in range(1, 61)))
    assert left_s(pace, 1000) < 1400  # the mean since the beginning would give 2,000


def test_the_estimate_stays_within_a_fifth_while_pictures_take_one_second_or_nine() -> None:
    pace, estimates = Pace("x"), []
    for done in range(101):
        pace.update(done, done // 2 * 10.0 + done % 2 * 1.0)
        if done > 10:
            estimates.append((left_s(pace, 200 - done)) / ((200 - done) * 5.0))
    assert min(estimates) > 0.8
    assert max(estimates) < 1.25


def test_no_estimate_is_shown_before_there_is_something_to_measure() -> None:
    line = progress_line(Progress("x", 1, 100, "pictures"), paced((0, 0.0), (1, 0.5)))
    assert "left" not in line
    assert "/s" not in line


@pytest.mark.parametrize(
    "note", ["", "loss 0.1234, waits for data 12%, 0.123 TFLOP/s a worker", "\u6f22" * 40 + ".png"]
)
@pytest.mark.parametrize("stage", ["colorize", "make columns", "evaluate deformed-reference", "s" * 100])
def test_a_terminal_of_80_columns_shows_count_speed_and_time_left_on_one_line(stage: str, note: str) -> None:
    pace = paced((0, 0.0), (1234, 5000.0))
    line = progress_line(Progress(stage, 1234, 12345, "pictures", note=note), pace, width=79)
    assert columns(line) <= 79
    assert line.startswith(stage[:8])
    assert "10%  1,234/12,345 pictures, 4.1 s a picture, 12 h 30 min left" in line


def test_a_log_has_lines_that_stand_below_each_other() -> None:
    pace = paced((0, 0.0), (250, 50.0))
    line = progress_line(Progress("v1.noisy", 250, 1000, "images", note="loss 0.5"), pace)
    assert line == f"{'v1.noisy':<28} {'█' * 6}{'░' * 18}  25%  250/1,000 images, 5.0/s, 2 min 30 s left, loss 0.5"
